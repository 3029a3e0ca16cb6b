"""A variational autoencoder, and with beta other than 1 a beta-VAE."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.baselines.autoencoder import MakeDecoder, made_decoder
from dim_lightning.baselines.decoder import Decoder
from dim_lightning.data import Batch
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.infomax.priors.gaussian_kl import gaussian_kl
from dim_lightning.parts import check_makers


class VAE(EncoderModule):
    """Minimises reconstruction + beta KL(p(z|x) || N(0, I)), in nats an image.

    'reconstruction' = E_p(z|x)[-log q(x|z)], one draw of z an image, where q(x|z) is Gaussian
    around the decoder's image with the standard deviation `pixel_std` for every pixel and colour.
    'kl' is summed over the dimensions of the code. For beta = 1 minus the loss is the evidence
    lower bound, at most log q(x), a density, so that it may have any sign.

    Source: Kingma and Welling, 2014, equation 3 and section 2.4; Higgins et al., 2017, equation 4
    (beta). Our choice: a fixed pixel_std of 0.1, about the error of 64 dimensions on natural
    pictures of 32x32. The smaller it is, the less the KL weighs.

    Args:
        encoder: makes a Gaussian encoder, given the image size.
        decoder: makes the decoder, given the sizes of the code and of an image.
        beta: weight of the KL.
        pixel_std: standard deviation of a pixel value, which lies in [0, 1], given the code.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the noise; the command line sets it from seed_everything.

    Raises:
        InputError: a deterministic encoder, or a beta or pixel_std that cannot be.
    """

    needs_image_size = True
    code_prior = "gaussian"

    def __init__(
        self,
        encoder: MakeEncoder = BlogEncoder,
        *,
        decoder: MakeDecoder = Decoder,
        beta: float = 1.0,
        pixel_std: float = 0.1,
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        check_makers(decoder=decoder)
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        if not (0 <= beta < math.inf and 0 < pixel_std < math.inf):
            raise InputError(
                f"model.beta is {beta} and model.pixel_std {pixel_std}; expected finite numbers, "
                "beta at least 0 and pixel_std above 0"
            )
        if not self.encoder.is_gaussian:
            raise InputError(
                "a VAE needs an encoder with a variance, this one is deterministic; set "
                "model.encoder.init_args.gaussian to true, or take BlogEncoder"
            )
        self.decoder = made_decoder(decoder, self.encoder.embedding_dim, image_size)
        self.beta = beta
        self.pixel_std = pixel_std

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean codes, and 'loss', 'reconstruction' and 'kl' in nats an image."""
        features = self.encoder(batch.images)
        made = self.decoder(features.sample(generator))
        reconstruction = gaussian_nll(batch.images, made, self.pixel_std)
        kl = self.embedding_dim * gaussian_kl(features)
        loss = reconstruction + self.beta * kl
        return features.mean, {"loss": loss, "reconstruction": reconstruction, "kl": kl}


def gaussian_nll(
    images: Float[Tensor, "n 3 height width"], mean: Float[Tensor, "n 3 height width"], std: float
) -> Float[Tensor, ""]:
    """-log N(x; mean, std^2 I) in nats an image, averaged over the images."""
    squares = ((widened(mean) - images) / std).square().flatten(1).sum(1) / 2
    return squares.mean() + images[0].numel() * math.log(std * math.sqrt(2 * math.pi))
