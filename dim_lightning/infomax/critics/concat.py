"""A critic that is one network of both sides."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dim_lightning.infomax.critics.critic import Critic, check_widths


class ConcatCritic(Critic):
    """T([z, s]) by a multilayer perceptron on the concatenation of a code z and a source s.

    On the locations of a feature map this is 'concat-and-convolve'. The first layer is linear in
    both, W [z, s] = W_z z + W_s s, so each half is computed once for a code and once for a source:
    the same numbers as concatenating, without the copies and with a fraction of the arithmetic.

    Source: the blog's script, three hidden layers of 256; with widths (512, 512) Hjelm et al.,
    2019, tables 5 (global) and 7 (local).

    Args:
        source_dim: size of s.
        code_dim: size of z.
        widths: units of the hidden ReLU layers.

    Raises:
        InputError: no hidden layer, or one without units.
    """

    def __init__(self, source_dim: int, code_dim: int, widths: Sequence[int] = (256, 256, 256)):
        super().__init__()
        check_widths("widths", widths)
        self.code_dim = code_dim
        self.first = nn.Linear(code_dim + source_dim, widths[0])
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((*widths, 1)):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.rest = nn.Sequential(*layers)

    def encode_source(self, source: Float[Tensor, "n m s"]) -> Float[Tensor, "n m w"]:
        """W_s s."""
        return F.linear(source, self.first.weight[:, self.code_dim :])

    def encode_code(self, code: Float[Tensor, "n d"]) -> Float[Tensor, "n w"]:
        """W_z z + b."""
        weight = self.first.weight[:, : self.code_dim]
        return F.linear(code, weight, self.first.bias)

    def pair(
        self, source: Float[Tensor, "*#b m w"], code: Float[Tensor, "*#b w"]
    ) -> Float[Tensor, "*b m"]:
        """The rest of the perceptron on the sum of both halves."""
        return self.rest(source + code.unsqueeze(-2)).squeeze(-1)

    def pair_parameters(self) -> list[nn.Parameter]:
        """Those of all layers but the first."""
        return list(self.rest.parameters())
