"""An adversarial autoencoder: an adversary draws the codes to N(0, I)."""

import math

import torch
from torch import Tensor

from dim_lightning.baselines.autoencoder import MakeDecoder, made_decoder, square_error
from dim_lightning.baselines.decoder import Decoder
from dim_lightning.data import Batch
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import PaperEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.priors import AdversarialPrior
from dim_lightning.parts import check_makers


class AdversarialAutoencoder(EncoderModule):
    """Minimises square_error + gamma prior, and the loss of the discriminator that makes the prior.

    'square_error' is the autoencoder's, 'prior' and 'discriminator' are those of
    `AdversarialPrior` with the target N(0, I). Encoder and decoder have the gradient of the first
    two, the discriminator that of its own loss alone.

    Source: Makhzani et al., 2016, section 2. There the phases take turns, each with an optimiser of
    its own; here there is one step of all, so gamma weighs the error against the prior.

    Args:
        encoder: makes the encoder, given the image size; of a Gaussian one codes are drawn.
        decoder: makes the decoder, given the sizes of the code and of an image.
        prior_weight: gamma.
        widths: units of the discriminator's hidden layers.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the draws; the command line sets it from seed_everything.

    Raises:
        InputError: a weight that cannot be, or a discriminator with an empty layer.
    """

    needs_image_size = True
    code_prior = "gaussian"

    def __init__(
        self,
        encoder: MakeEncoder = PaperEncoder,
        *,
        decoder: MakeDecoder = Decoder,
        prior_weight: float = 0.01,
        widths: tuple[int, ...] = (1000, 200),
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        check_makers(decoder=decoder)
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        if not 0 < prior_weight < math.inf:
            raise InputError(
                f"model.prior_weight is {prior_weight}; expected a finite number above 0; without "
                "a prior, set method to Autoencoder"
            )
        self.decoder = made_decoder(decoder, self.encoder.embedding_dim, image_size)
        self.prior = AdversarialPrior(self.encoder.embedding_dim, "gaussian", widths)
        self.prior_weight = prior_weight

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes, and 'loss', 'square_error', 'prior' and 'discriminator'."""
        features = self.encoder(batch.images)
        code = features.sample(generator)
        error = square_error(self.decoder(code), batch.images)
        game = self.prior(features, code, generator)
        loss = error + self.prior_weight * game["prior"] + game["discriminator"]
        return features.mean, {"loss": loss, "square_error": error, **game}
