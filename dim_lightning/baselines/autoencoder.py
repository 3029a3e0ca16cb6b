"""An autoencoder: the code is to give the image back."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dim_lightning.baselines.decoder import Decoder
from dim_lightning.data import Batch
from dim_lightning.encoder_module import EncoderModule, MakeEncoder, MakeOptimizer, MakeScheduler
from dim_lightning.encoders import PaperEncoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.precision import widened
from dim_lightning.parts import check_makers, warn_of_dropout

MakeDecoder = Callable[[int, int], Decoder]


def made_decoder(make: MakeDecoder, code_dim: int, image_size: int) -> Decoder:
    """The decoder for these sizes, after a look at the shape of its images, and for dropout.

    Others would broadcast, and something else be trained in silence.

    Raises:
        InputError: they have another shape.
    """
    decoder = make(code_dim, image_size)
    with torch.no_grad():
        found = decoder.eval()(torch.zeros(2, code_dim)).shape
    decoder.train()
    if found != (2, 3, image_size, image_size):
        raise InputError(
            f"{type(decoder).__name__} makes {list(found)} of 2 codes; expected images "
            f"{[2, 3, image_size, image_size]}"
        )
    warn_of_dropout(decoder)
    return decoder


class Autoencoder(EncoderModule):
    """Minimises the mean square error of the image that a decoder makes of the code.

    The code is the mean of p(z|x), without noise, and no prior draws it anywhere.

    Source: the row 'AE' of Hjelm et al., 2019, whose text leaves its settings open.

    Args:
        encoder: makes the encoder, given the image size.
        decoder: makes the decoder, given the sizes of the code and of an image.
        optimizer: makes the optimiser, given the parameters.
        lr_scheduler: makes the learning-rate schedule: WarmupCosine, stepped once a training step,
            or one of torch's but ReduceLROnPlateau, stepped once an epoch.
        image_size: height and width of the images; the command line sets it from the data.
        seed: of the draws; the command line sets it from seed_everything.
    """

    needs_image_size = True

    def __init__(
        self,
        encoder: MakeEncoder = PaperEncoder,
        *,
        decoder: MakeDecoder = Decoder,
        optimizer: MakeOptimizer = torch.optim.Adam,
        lr_scheduler: MakeScheduler | None = None,
        image_size: int = 32,
        seed: int = 0,
    ):
        check_makers(decoder=decoder)
        super().__init__(encoder, optimizer, lr_scheduler, image_size, seed)
        self.save_hyperparameters(logger=False)
        self.decoder = made_decoder(decoder, self.encoder.embedding_dim, image_size)

    def code_and_terms(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The codes, and 'loss' = 'square_error', a pixel and colour of values in [0, 1]."""
        code = self.encoder(batch.images).mean
        error = square_error(self.decoder(code), batch.images)
        return code, {"loss": error, "square_error": error}


def square_error(
    made: Float[Tensor, "n 3 height width"], images: Float[Tensor, "n 3 height width"]
) -> Float[Tensor, ""]:
    """Mean of (x' - x)^2 over images, colours and pixels, in float32."""
    return (widened(made) - images).square().mean()
