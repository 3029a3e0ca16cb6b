"""How much of an image its frozen code keeps: a decoder's images against the true ones."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from dim_lightning.errors import InputError
from dim_lightning.evaluation.features import as_floats
from dim_lightning.evaluation.fitting import passes, seeded

_BETAS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of five scales, the finest first
_SIGMA = 1.5  # of the usual window of 11 x 11
_SMALLEST = 8
_AT_ONCE = 256


class Coded(NamedTuple):
    """Images and their codes. The images may lie elsewhere than the codes."""

    images: UInt8[Tensor, "n 3 h w"]
    codes: Float[Tensor, "n d"]


class Decoded(NamedTuple):
    """How near decoded test images come.

    Attributes:
        ms_ssim: mean of `ms_ssim` over images.
        square_error: mean over images, colours and pixels of values in [0, 1].
    """

    ms_ssim: float
    square_error: float


def reconstruction(
    decoder: nn.Module,
    train: Coded,
    test: Coded,
    *,
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    context: Callable[[], AbstractContextManager] = nullcontext,
) -> Decoded:
    """The nearness of test images that `decoder` makes of their codes, fitted to training images.

    The decoder minimises the mean square error by Adam, whose rate is divided by ten for the last
    third and again for the last sixth of the epochs. It is changed; the codes are not. Nothing is
    chosen by the test images.

    Source: the MS-SSIM of Hjelm et al., 2019, table 4. The authors' code (msssim_eval.py) has Adam
    at 1e-4, divided by ten after epochs 50 and 100, with batches of 64; its number of epochs is
    open. Here there are fewer epochs at a higher rate.

    Args:
        decoder: codes to images in [0, 1], where the codes are.
        train: what is fitted.
        test: what is reported.
        epochs: how often each training image is met.
        batch_size: images a step.
        learning_rate: of Adam.
        seed: of the order.
        context: of each forward pass, for the precision.

    Raises:
        InputError: there are fewer than 2 training images, or images are smaller than 8 pixels.
    """
    scales_of(min(test.images.shape[2:]))
    device, codes = train.codes.device, train.codes.detach()
    with seeded(seed, device):
        decoder.train()

        def loss_of(rows: Tensor) -> Tensor:
            images = as_floats(train.images[rows].to(device))
            with context():
                made = decoder(codes[rows.to(device)])
            # of each image the sum: float16 has no gradients as small as a mean's of all pixels
            return (made.float() - images).square().flatten(1).sum(dim=1).mean()

        count = len(train.codes)
        plan = (count, epochs, batch_size, seed, "decoder_epochs")
        for _ in passes(decoder, learning_rate, loss_of, *plan):
            pass
    return _nearness(decoder.eval(), test, context)


def ms_ssim(
    made: Float[Tensor, "n 3 h w"], images: Float[Tensor, "n 3 h w"]
) -> Float[Tensor, " n"]:
    """Multi-scale structural similarity of each pair of images in [0, 1]: 1 if they are equal.

    The usual five scales and window of 11 x 11 need images of 176 pixels. For smaller ones the
    window is 5 x 5, narrowed in proportion (sigma 1.5 x 5/11), with as many scales as fit: 2 below
    20 pixels, 3 (at 32) below 45, 4 (at 64) below 80, then 5. Their weights are those of the finest
    of the five scales, divided by their sum. So values compare between encoders on images of one
    size, not with those of other sizes or other software. Negative similarities count as 0. At the
    coarsest scale the edges are mirrored, where the definition has whole windows alone, which tells
    most on small images.

    Source: Wang, Simoncelli and Bovik, 2003; computed by torchmetrics.

    Raises:
        InputError: images are smaller than 8 pixels.
    """
    scales, window = scales_of(min(images.shape[2:]))
    weights = _BETAS[:scales]
    return multiscale_structural_similarity_index_measure(
        made.contiguous(),
        images.contiguous(),
        sigma=_SIGMA * window / 11,
        kernel_size=window,
        reduction="none",
        data_range=1.0,
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="relu",
    )


def scales_of(size: int) -> tuple[int, int]:
    """Number of scales and side of the window for images of `size` pixels, see `ms_ssim`.

    Raises:
        InputError: images are smaller than 8 pixels.
    """
    if size < _SMALLEST:
        raise InputError(
            f"images of {size} pixels are too small for MS-SSIM; expected at least {_SMALLEST}; "
            "set evaluation.decoder_epochs to 0, or a larger data.image_size"
        )
    if size >= 176:
        return 5, 11
    # torchmetrics asks for size // (scales - 1)^2 > window - 1; from 10 pixels on whole windows fit
    return max(n for n in range(2, 6) if size // (n - 1) ** 2 > 4), 5


@torch.no_grad()
def _nearness(
    decoder: nn.Module, test: Coded, context: Callable[[], AbstractContextManager]
) -> Decoded:
    device, similarity, error = test.codes.device, 0.0, 0.0
    for rows in torch.arange(len(test.codes)).split(_AT_ONCE):
        images = as_floats(test.images[rows].to(device))
        with context():
            made = decoder(test.codes[rows.to(device)]).float()
        similarity += ms_ssim(made, images).cpu().double().sum().item()
        error += (made - images).square().mean(dim=(1, 2, 3)).cpu().double().sum().item()
    return Decoded(similarity / len(test.codes), error / len(test.codes))
