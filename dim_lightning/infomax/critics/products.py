"""Critics whose score is a product of both sides: all pairs are one matrix product."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.errors import InputError
from dim_lightning.infomax.critics.critic import Critic, check_widths
from dim_lightning.infomax.precision import widened

_SHORTEST = 1e-12  # length of a vector that has a direction


class _ProductCritic(Critic):
    """T(s, z) = <s, z> of what both sides give, or c tanh(<s, z> / c) with a `clip` of c."""

    is_product = True
    clip: float | None = None

    def pair(
        self, source: Float[Tensor, "*#b m w"], code: Float[Tensor, "*#b w"]
    ) -> Float[Tensor, "*b m"]:
        """The product, clipped if asked for."""
        if source.ndim != 4 or len(source) != 1 or code.shape[1] != 1:
            scores = torch.einsum("...mw,...w->...m", source, code)
        else:  # that of all codes with all images is one matrix product, without copies
            scores = (code[:, 0] @ source.flatten(0, -2).mT).unflatten(1, source.shape[1:-1])
        return scores if self.clip is None else self.clip * torch.tanh(scores / self.clip)


class DotCritic(_ProductCritic):
    """T(s, z) = <f(s), g(z)>, 'encode-and-dot-product'.

    f and g are W_2 ReLU(W_1 x) + W_3 x, then layer norm: one hidden layer and a linear shortcut.
    The cost of a pair is a dot product, so all pairs of a batch are affordable.

    Source: Hjelm et al., 2019, section 3 and appendix A.2 (width 2048). The authors' code
    (rdevon/DIM, nn_modules/mi_networks.py) has a batch norm before the ReLU, which would mix
    images, and neither scales nor clips. Its MIFCNet, g in their script of January 2019
    (scripts/deep_infomax.py), has no layer norm; their later models/dim.py has the norm on both
    sides, as here, and on both shortcuts that start as copies of their input, as `as_authors`.

    Args:
        source_dim: size of s.
        code_dim: size of z.
        width: units of the hidden layers and of the product.
        scale: divide by sqrt(width), as layer norm makes products that large; bfloat16 rounds these
            by up to one.
        clip: c of c tanh(T / c), which keeps scores within +-c (Bachman et al., 2019, section
            3.3); no clipping if None.
        as_authors: as in that script: g without layer norm, so that the code itself says how large
            scores are, and shortcuts W_3 that start as copies of their input with a little noise,
            where there are units enough for it.

    Raises:
        InputError: no units, or a clip that is not above 0.
    """

    def __init__(
        self,
        source_dim: int,
        code_dim: int,
        width: int = 512,
        scale: bool = True,
        clip: float | None = None,
        as_authors: bool = False,
    ):
        super().__init__()
        check_widths("width", [width])
        _check_clip(clip)
        self.source_side = _Side(source_dim, width, copies=as_authors)
        self.code_side = _Side(code_dim, width, norm=not as_authors, copies=as_authors)
        self.scale = width**-0.5 if scale else 1.0
        self.clip = clip

    def encode_source(self, source: Float[Tensor, "n m s"]) -> Float[Tensor, "n m w"]:
        """f(s)."""
        return self.source_side(source)

    def encode_code(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n w"]:
        """g(z), divided by sqrt(width) if scaled."""
        return self.code_side(code) * self.scale


class BilinearCritic(_ProductCritic):
    """T(s, z) = s' W z.

    Source: van den Oord et al., 2018, equation 3.

    Args:
        source_dim: size of s.
        code_dim: size of z.
        scale: divide by sqrt(source_dim).
        clip: see `DotCritic`.

    Raises:
        InputError: a clip that is not above 0.
    """

    def __init__(
        self, source_dim: int, code_dim: int, scale: bool = True, clip: float | None = None
    ):
        super().__init__()
        _check_clip(clip)
        self.weight = nn.Linear(code_dim, source_dim, bias=False)
        self.scale = source_dim**-0.5 if scale else 1.0
        self.clip = clip

    def encode_source(self, source: Float[Tensor, "n m s"]) -> Float[Tensor, "n m w"]:
        """The source itself."""
        return source

    def encode_code(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n w"]:
        """W z, divided by sqrt(source_dim) if scaled."""
        return self.weight(code) * self.scale


class CosineCritic(_ProductCritic):
    """T(s, z) = cos(f(s), g(z)) / temperature.

    Scores are within +-1 / temperature, however long the codes are. f and g are linear maps, or
    have one hidden ReLU layer each: a linear f is cheap at every location of a feature map.

    Source: Chen et al., 2020 (SimCLR), section 2.1, whose projection head has a hidden layer of the
    code's size, width 128 and the same weights on both sides; its temperatures are 0.1 on ImageNet
    (section 5.1) and 0.5 on CIFAR-10 (B.9).

    Args:
        source_dim: size of s.
        code_dim: size of z.
        width: size of f(s) and g(z).
        hidden_dim: units of the hidden layers; none if None.
        temperature: what the cosine is divided by.

    Raises:
        InputError: no units, or a temperature that is not above 0.
    """

    def __init__(
        self,
        source_dim: int,
        code_dim: int,
        width: int = 128,
        hidden_dim: int | None = None,
        temperature: float = 0.2,
    ):
        super().__init__()
        check_widths("width", [width])
        if hidden_dim is not None:
            check_widths("hidden_dim", [hidden_dim])
        _check_above_zero("temperature", temperature)
        self.source_side = _projection(source_dim, hidden_dim, width)
        self.code_side = _projection(code_dim, hidden_dim, width)
        self.temperature = temperature

    def encode_source(self, source: Float[Tensor, "n m s"]) -> Float[Tensor, "n m w"]:
        """f(s) / |f(s)|."""
        return _unit(self.source_side(source))

    def encode_code(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n w"]:
        """g(z) / |g(z)|, divided by the temperature."""
        return _unit(self.code_side(code)) / self.temperature


def _projection(inputs: int, hidden_dim: int | None, width: int) -> nn.Module:
    if hidden_dim is None:
        return nn.Linear(inputs, width, bias=False)
    return nn.Sequential(nn.Linear(inputs, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, width))


class _Side(nn.Module):
    """One hidden ReLU layer beside a linear shortcut, then layer norm if asked for.

    If `copies`, a shortcut with units enough starts as its input, beside zeros, plus noise of up to
    0.01.
    """

    def __init__(self, inputs: int, width: int, norm: bool = True, copies: bool = False):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
        self.shortcut = nn.Linear(inputs, width, bias=False)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        if copies and width >= inputs:
            nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)
            with torch.no_grad():
                self.shortcut.weight.fill_diagonal_(1.0)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b w"]:
        return self.norm(self.hidden(x) + self.shortcut(x))


def _unit(values: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
    """Of length 1, in float32 at least; zeros stay zeros and have no gradient.

    That of torch.nn.functional.normalize is 1e12 times what comes in there, which float16 has not.
    """
    wide = widened(values)
    length = wide.norm(dim=-1, keepdim=True)
    return wide / length.where(length > _SHORTEST, math.inf)


def _check_clip(clip: float | None) -> None:
    if clip is not None:
        _check_above_zero("clip", clip, ", or null for none")


def _check_above_zero(name: str, value: float, otherwise: str = "") -> None:
    if not 0 < value < float("inf"):
        raise InputError(
            f"a critic's {name} is {value}; expected a number above 0{otherwise}; set "
            f"init_args.{name} of the critic"
        )
