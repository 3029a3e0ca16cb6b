"""Parameters in the forms in which optimisers take them."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor


def parted(
    params: Tensor | Iterable[Any], is_first: Callable[[Tensor], bool]
) -> tuple[list[Any], list[Any]]:
    """Those that `is_first` is true of, and all others; pairs of name and parameter stay pairs."""
    listed = [params] if isinstance(params, Tensor) else list(params)
    chosen = [is_first(each[1] if isinstance(each, tuple) else each) for each in listed]
    first = [each for each, is_chosen in zip(listed, chosen, strict=True) if is_chosen]
    return first, [each for each, is_chosen in zip(listed, chosen, strict=True) if not is_chosen]
