"""Self-attention over the locations of a feature map."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn, zeros

from dim_lightning.errors import InputError


class SelfAttention(nn.Module):
    """x + gate * attention(layer_norm(x)): each location looks at all the others.

    Multi-head attention softmax(Q K^T / sqrt(c / heads)) V over the h * w locations, which has no
    notion of places: permuted locations give a permuted result. The gate is one learnt number,
    0 at the start, so a network with this block starts as the same network without it; in the
    first step only the gate has a gradient.

    Source: Vaswani et al., 2017, section 3.2 (multi-head attention); Zhang et al., 2019 (SAGAN),
    equation 3 (the gate). SAGAN has a single head, no layer norm, no 1 / sqrt factor, and queries
    and keys of c / 8 channels.

    Args:
        channels: c, the channels of the feature map.
        num_heads: how many attentions run side by side, each on c / num_heads channels.

    Raises:
        InputError: for channels that the heads cannot share evenly.
    """

    def __init__(self, channels: int, num_heads: int = 4):
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise InputError(
                f"attention with {num_heads} heads over {channels} channels; expected at least 1 "
                "head and a number of heads that divides the channels; set attention_heads or the "
                "last of the widths in model.encoder.init_args"
            )
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.queries_keys_values = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.gate = nn.Parameter(zeros(()))

    def reset_parameters(self) -> None:
        """Closes the gate; the layers draw their own."""
        nn.init.zeros_(self.gate)

    def forward(self, feature_map: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The feature map, to each location added what it finds at the others."""
        x = feature_map.flatten(2).transpose(1, 2)  # [n, m, c]
        heads = self.queries_keys_values(self.norm(x)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [n, heads, m, c / heads]
        found = F.scaled_dot_product_attention(query, key, value)
        found = self.out(found.transpose(1, 2).flatten(2))
        return feature_map + self.gate * found.transpose(1, 2).reshape(feature_map.shape)
