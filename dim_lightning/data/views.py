"""The views of training images: what makes them, of which size, from which draws."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from dim_lightning.data.augmentation import Augmentation
from dim_lightning.errors import InputError
from dim_lightning.seeding import Draws, generator_for


class Views(NamedTuple):
    """How the views of an image are made.

    Attributes:
        augmentation: makes the large ones; none, and the only view is the image.
        number: of large ones.
        sizes: [epoch, pixels]: their size from that epoch on; that of `augmentation` if none.
        small_augmentation: makes the small ones.
        num_small: of small ones.
        seed: of the draws.
    """

    augmentation: Augmentation | None
    number: int
    sizes: Sequence[tuple[int, int]]
    small_augmentation: Augmentation | None
    num_small: int
    seed: int

    def of(self, images: Tensor, epoch: int, step: int) -> Iterator[Tensor]:
        """Each view of training images; its draws depend on where training stands and on it.

        Args:
            images: float in [0, 1], [n, 3, h, w].
            epoch: that is trained.
            step: of this epoch, counted from 0.

        Raises:
            InputError: an augmentation gives something else than images.
        """
        whole = [self._augmentation_at(epoch)] * self.number
        small = [self.small_augmentation] * self.num_small
        for view, augmentation in enumerate(whole + small):
            if augmentation is None:
                yield images
            else:
                key = (self.seed, Draws.VIEWS, epoch, step, view)
                changed = augmentation(images, generator_for(*key, device=images.device))
                _check_changed(type(augmentation).__name__, images, changed)
                yield changed

    def _augmentation_at(self, epoch: int) -> Augmentation | None:
        """What makes the large views in an epoch: `augmentation`, at the size of that time."""
        size = next((size for start, size in reversed(self.sizes) if start <= epoch), None)
        if self.augmentation is None or size is None:
            return self.augmentation
        return self.augmentation.resized(size)


def _check_changed(name: str, images: Tensor, changed: object) -> None:
    """Looks at type and shape alone, which asks nothing back from the device."""
    if not isinstance(changed, Tensor):
        raise InputError(f"{name} gives {type(changed).__name__}; expected the changed images")
    is_batch = changed.ndim == 4 and changed.shape[:2] == images.shape[:2]
    if not (is_batch and changed.is_floating_point()):
        raise InputError(
            f"{name} gives {str(changed.dtype).removeprefix('torch.')} {list(changed.shape)} for "
            f"images {list(images.shape)}; expected as many images of 3 colours, float in [0, 1]"
        )
