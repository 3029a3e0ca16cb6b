import math

import pytest
import torch

from dim_lightning.encoders.attention import SelfAttention
from dim_lightning.errors import InputError


def build(channels=8, num_heads=2, gate=0.7):
    torch.manual_seed(0)
    attention = SelfAttention(channels, num_heads)
    torch.nn.init.normal_(attention.norm.weight)
    torch.nn.init.normal_(attention.norm.bias)
    torch.nn.init.constant_(attention.gate, gate)
    return attention


def test_equals_the_formula_location_by_location():
    attention = build().double()
    feature_map = torch.randn(2, 8, 2, 2, dtype=torch.double)
    places = [(i, j) for i in range(2) for j in range(2)]
    expected = feature_map.clone()
    for n in range(2):
        x = [feature_map[n, :, i, j] for i, j in places]
        normed = [(v - v.mean()) / (v.var(correction=0) + 1e-5).sqrt() for v in x]
        normed = [v * attention.norm.weight + attention.norm.bias for v in normed]
        query, key, value = zip(
            *[attention.queries_keys_values(v).split(8) for v in normed], strict=True
        )
        for (i, j), q in zip(places, query, strict=True):
            found = []
            for head in (slice(0, 4), slice(4, 8)):
                logits = torch.stack([q[head] @ k[head] / math.sqrt(4) for k in key])
                weights = logits.exp() / logits.exp().sum()
                found.append(sum(w * v[head] for w, v in zip(weights, value, strict=True)))
            expected[n, :, i, j] += 0.7 * attention.out(torch.cat(found))
    torch.testing.assert_close(attention(feature_map), expected)


def test_permuted_locations_give_a_permuted_result():
    attention = build()
    feature_map = torch.randn(3, 8, 4, 4)
    order = torch.randperm(16)

    def permuted(x):
        return x.flatten(2)[:, :, order].unflatten(2, (4, 4))

    torch.testing.assert_close(attention(permuted(feature_map)), permuted(attention(feature_map)))


def test_each_location_looks_at_every_other_of_its_own_image_only():
    feature_map = torch.randn(2, 8, 3, 3)
    changed = feature_map.clone()
    changed[0, :, 1, 2] += torch.randn(8)
    attention = build()
    moved = (attention(changed) != attention(feature_map)).any(1)
    assert moved[0].all()
    assert not moved[1].any()


def test_starts_as_the_identity():
    feature_map = torch.randn(2, 8, 4, 4)
    assert torch.equal(SelfAttention(8)(feature_map), feature_map)


def test_the_gate_opens_first_and_then_the_rest_learns():
    torch.manual_seed(0)
    attention = SelfAttention(8, 2)
    feature_map = torch.randn(2, 8, 4, 4)
    attention(feature_map).square().sum().backward()
    assert attention.gate.grad.abs() > 0
    assert attention.out.weight.grad.abs().sum() == 0
    with torch.no_grad():
        attention.gate -= 0.01 * attention.gate.grad
    attention.zero_grad()
    attention(feature_map).square().sum().backward()
    for parameter in attention.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


def test_gradients_are_those_of_the_numbers():
    attention = build(channels=4).double()
    feature_map = torch.randn(1, 4, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(attention, feature_map)


def test_bfloat16_under_autocast_stays_near_float32():
    attention = build(channels=32, num_heads=4)
    feature_map = torch.randn(4, 32, 4, 4)
    exact = attention(feature_map)
    with torch.autocast("cpu", torch.bfloat16):
        rough = attention(feature_map.bfloat16())
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.02)


def test_keeps_channels_last_and_gives_the_same_in_both_layouts():
    attention = build()
    feature_map = torch.randn(3, 8, 4, 4)
    result = attention(feature_map.to(memory_format=torch.channels_last))
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, attention(feature_map))


@pytest.mark.parametrize(("channels", "num_heads"), [(8, 3), (8, 0), (8, -2), (2, 4)])
def test_heads_that_cannot_share_the_channels_are_refused(channels, num_heads):
    with pytest.raises(InputError, match=r"attention with .* heads over .* attention_heads"):
        SelfAttention(channels, num_heads)
