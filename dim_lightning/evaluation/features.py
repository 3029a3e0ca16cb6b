"""Features of images by a frozen encoder, layer by layer."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dim_lightning.data import Batch, to_float
from dim_lightning.data.checks import as_batch
from dim_lightning.encoders import Encoder, Features
from dim_lightning.encoders.encoder import evaluating
from dim_lightning.errors import InputError, check_list


class Extracted(NamedTuple):
    """Features of n images, on the CPU, float32.

    Attributes:
        layers: name -> [n, k], in the order in which an image meets them.
        code: mean of p(z|x), [n, d].
        log_variance: log variance of p(z|x), [n, d]; None where p(z|x) is a point.
        labels: classes; -1 where unlabelled.
        indices: the images' positions in their split.
    """

    layers: dict[str, Tensor]
    code: Float[Tensor, "n d"]
    log_variance: Float[Tensor, "n d"] | None
    labels: Int64[Tensor, " n"]
    indices: Int64[Tensor, " n"]


@contextmanager
def observing(module: nn.Module) -> Iterator[None]:
    """As `evaluating`, and `module` draws nothing that lasts: the global generators stay."""
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    with evaluating(module), torch.random.fork_rng(list(devices)):
        yield


def extract(
    encoder: Encoder,
    batches: Iterable[Batch],
    *,
    device: torch.device | str | None = None,
    layers: Sequence[str] | None = None,
    labelled: bool = False,
) -> Extracted:
    """Features of all images of `batches` by the encoder as it is, in eval mode.

    Batch-norm statistics, training modes and global generators stay as they are. The encoder runs
    in the precision of the caller's autocast context.

    Args:
        encoder: any.
        batches: images as bytes or as floats in [0, 1].
        device: where the encoder is; where its parameters are if None.
        layers: names in `Features.layers` to keep; all of them if None.
        labelled: whether to keep layers of labelled images only, [number of these, k]; codes are
            kept of all.

    Raises:
        InputError: for a layer that the encoder does not have, if it gives no `Features`, if
            there are no images, or no batches of images as bytes or floats.
    """
    check_list("layers", layers)
    stores: dict[str, list[Tensor]] = {}
    parts: list[dict[str, Tensor]] = []
    like = next(encoder.parameters(), torch.empty(0))
    device = like.device if device is None else device
    with observing(encoder):
        for batch in map(as_batch, batches):
            features = encoder(as_floats(batch.images.to(device)).to(like.dtype))
            if not isinstance(features, Features):
                raise InputError(
                    f"{type(encoder).__name__} gives {type(features).__name__}; expected Features, "
                    "as an Encoder of dim_lightning.encoders does"
                )
            for name, value in _chosen(features.layers, layers).items():
                rows = value[(batch.labels >= 0).to(device)] if labelled else value
                stores.setdefault(name, []).append(rows.float().cpu())
            rest = {"code": features.mean.float(), "log_variance": features.log_variance}
            rest.update(labels=batch.labels, indices=batch.indices)
            parts.append({name: value.cpu() for name, value in rest.items() if value is not None})
    if not parts:
        raise InputError("no images to take features of; expected at least one batch")
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    noise = whole.pop("log_variance", None)
    return Extracted(
        layers={name: torch.cat(stores.pop(name)) for name in list(stores)},
        log_variance=None if noise is None else noise.float(),
        **whole,
    )


def pixels(batches: Iterable[Batch], *, largest: int = 32) -> Float[Tensor, "n k"]:
    """The images themselves, flattened, values in [0, 1]: k = 3 h w.

    Args:
        batches: images as bytes or as floats in [0, 1].
        largest: images with a longer side are averaged down to `largest` x `largest` first.

    Raises:
        InputError: if there are no images, or no batches of images as bytes or floats.
    """
    rows = []
    for batch in map(as_batch, batches):
        images = as_floats(batch.images).contiguous()
        if max(images.shape[2:]) > largest:
            images = F.adaptive_avg_pool2d(images, largest)
        rows.append(images.flatten(1))
    if not rows:
        raise InputError("no images to take the pixels of; expected at least one batch")
    return torch.cat(rows)


def as_floats(images: Tensor) -> Float[Tensor, "n 3 height width"]:
    """Images with values in [0, 1], from bytes or from such floats.

    Raises:
        InputError: they are neither.
    """
    return images if images.is_floating_point() else to_float(images)


def _chosen(layers: dict[str, Tensor], names: Sequence[str] | None) -> dict[str, Tensor]:
    if names is None:
        return layers
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise InputError(
            f"the encoder has no layer {unknown[0]!r}; expected one of {', '.join(layers)}; name "
            "one of these"
        )
    return {name: layers[name] for name in layers if name in names}
