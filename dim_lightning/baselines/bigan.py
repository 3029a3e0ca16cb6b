"""BiGAN: a generator and an encoder whose pairs of image and code look alike."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from dim_lightning.baselines.autoencoder import MakeDecoder, made_decoder
from dim_lightning.baselines.decoder import Decoder
from dim_lightning.data import Batch
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import PaperEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.parts import check_makers, warn_of_dropout
from dim_lightning.processes import normal_like


class JointDiscriminator(nn.Module):
    """The logit of: this pair is an image and its code, not a code and the image made of it.

    For each width [convolution 4x4 stride 2, batch norm but in the first, LeakyReLU 0.2];
    flattened, beside the code; [linear, LeakyReLU 0.2]; linear.

    The batch norm lets it see that a batch has all the same images: without it, after 400 steps on
    handwritten digits, the generator made one image of all draws (standard deviation of a pixel
    over samples 0.02; with it 0.18, over digits 0.20).

    Source: Donahue et al., 2017, section 3 (the pairs). The network is our choice, the convolutions
    of the DIM paper's encoder as Radford et al., 2016, arrange them (DCGAN).

    Args:
        code_dim: d, the size of the code.
        image_size: height and width of an image.
        widths: channels of the convolutions.
        hidden_dim: units of the layer that sees image and code.

    Raises:
        InputError: a layer without units, or an image too small.
    """

    def __init__(
        self,
        code_dim: int,
        image_size: int,
        widths: Sequence[int] = (64, 128, 256),
        hidden_dim: int = 1024,
    ):
        super().__init__()
        side = image_size // 2 ** len(widths)
        # of one image a map of 1x1 has a single value a channel, which batch norm refuses
        least = 2 * 2 ** len(widths)
        if min((*widths, hidden_dim)) < 1 or image_size < least:
            raise InputError(
                f"JointDiscriminator got widths {list(widths)} and hidden_dim {hidden_dim} for "
                f"images of {image_size} pixels; expected sizes of at least 1 and images of at "
                f"least {least} pixels; set model.discriminator.init_args or data.image_size"
            )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, *widths)):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
            layers += [_batch_norm(outputs)] if len(layers) > 1 else []
            layers.append(nn.LeakyReLU(0.2))
        self.trunk = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.joint = nn.Sequential(
            nn.Linear(widths[-1] * side**2 + code_dim, hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, 1),
        )

    def forward(
        self, images: Float[Tensor, "n 3 height width"], code: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n 1"]:
        """One logit a pair."""
        seen = self.trunk(2 * images - 1).flatten(1)
        return self.joint(torch.cat([seen, code.to(seen.dtype)], dim=1))


def _batch_norm(channels: int) -> nn.Module:
    """By the batch at hand in evaluation too: real and made images share no running statistics."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


MakeDiscriminator = Callable[[int, int], JointDiscriminator]


class BiGAN(EncoderModule):
    """Two players in nats: D tells pairs (x, E(x)) from pairs (G(z), z) with z ~ N(0, I).

    'discriminator' = E_x[softplus(-D(x, E(x)))] + E_z[softplus(D(G(z), z))], minimised by D alone
    'encoder_generator' = E_x[softplus(D(x, E(x)))] + E_z[softplus(-D(G(z), z))], by E and G alone

    Both are 2 log 2 = 1.386 where D is fooled. At the optimum E and G are each other's inverse. One
    optimiser and one backward are enough: the second term calls D with detached weights, the first
    sees detached codes and images.

    Source: Donahue et al., 2017, equations 2 and 3, and section 3.4 (the non-saturating second
    term); Dumoulin et al., 2017. N(0, I) is that of Hjelm et al., 2019, section 4.2 ('spherical
    Gaussian input prior'); Donahue et al. draw z uniformly.

    Args:
        encoder: makes the encoder E, given the image size; of a Gaussian one codes are drawn.
        decoder: makes the generator G, given the sizes of the code and of an image.
        discriminator: makes D, given the sizes of the code and of an image.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the draws; the command line sets it from seed_everything.
    """

    needs_image_size = True
    code_prior = "gaussian"

    def __init__(
        self,
        encoder: MakeEncoder = PaperEncoder,
        *,
        decoder: MakeDecoder = Decoder,
        discriminator: MakeDiscriminator = JointDiscriminator,
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        check_makers(decoder=decoder, discriminator=discriminator)
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        sizes = (self.encoder.embedding_dim, image_size)
        self.decoder = made_decoder(decoder, *sizes)
        self.discriminator = discriminator(*sizes)
        warn_of_dropout(self.discriminator)

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes, and 'loss', 'encoder_generator' and 'discriminator'."""
        features = self.encoder(batch.images)
        code = features.sample(generator)
        draws = normal_like(code, generator)
        made = self.decoder(draws).to(batch.images.dtype)
        encoder_generator = self._encoder_generator_loss((batch.images, code), (made, draws))
        discriminator = self._discriminator_loss(
            (batch.images, code.detach()), (made.detach(), draws)
        )
        return features.mean, {
            "loss": encoder_generator + discriminator,
            "encoder_generator": encoder_generator,
            "discriminator": discriminator,
        }

    def _encoder_generator_loss(
        self, real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]
    ) -> Tensor:
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        of_real, of_made = (
            widened(functional_call(self.discriminator, frozen, pair)) for pair in (real, made)
        )
        return softplus(of_real).mean() + softplus(-of_made).mean()

    def _discriminator_loss(
        self, real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]
    ) -> Tensor:
        of_real, of_made = (widened(self.discriminator(*pair)) for pair in (real, made))
        return softplus(-of_real).mean() + softplus(of_made).mean()
