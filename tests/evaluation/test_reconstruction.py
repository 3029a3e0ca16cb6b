from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from learning_rates import watched_rates
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.evaluation.reconstruction import Coded, ms_ssim, reconstruction, scales_of

BETAS = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333], dtype=torch.float64)


def reference(one, other, scales, side):
    """The formula of Wang et al., 2003: contrast of all scales, luminance of the coarsest."""
    sigma = 1.5 * side / 11
    axis = torch.arange(side, dtype=torch.float64) - side // 2
    window = (-axis.square() / (2 * sigma**2)).exp()
    window = (window[:, None] * window[None]) / window.sum() ** 2
    kernel = window.expand(3, 1, side, side)

    def blurred(x, padded):
        x = F.pad(x, [side // 2] * 4, mode="reflect") if padded else x
        return F.conv2d(x, kernel, groups=3)

    betas, result = BETAS[:scales] / BETAS[:scales].sum(), 1.0
    for scale in range(scales):
        coarsest = scale == scales - 1  # torchmetrics pads there, and there only
        a, b = blurred(one, coarsest), blurred(other, coarsest)
        aa, bb, ab = (
            blurred(x, coarsest) - y
            for x, y in ((one * one, a * a), (other * other, b * b), (one * other, a * b))
        )
        value = (2 * ab + 0.03**2) / (aa + bb + 0.03**2)
        if coarsest:
            value = value * (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
        result = result * value.mean((1, 2, 3)).relu() ** betas[scale]
        one, other = F.avg_pool2d(one, 2), F.avg_pool2d(other, 2)
    return result


def images(n, size, seed=0):
    """Smooth, so that near pixels are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, -(-size // 4), -(-size // 4), generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bilinear")


@pytest.mark.parametrize(
    ("size", "scales", "side"), [(8, 2, 5), (16, 2, 5), (32, 3, 5), (64, 4, 5), (96, 5, 5)]
)
def test_ms_ssim_is_the_formula_with_the_scales_that_fit(size, scales, side):
    assert scales_of(size) == (scales, side)
    one = images(3, size)
    other = (one + 0.1 * images(3, size, 1)).clamp(0, 1)
    found = ms_ssim(other, one)
    torch.testing.assert_close(
        found.double(), reference(other.double(), one.double(), scales, side), atol=2e-4, rtol=0
    )
    assert ((found > 0.5) & (found < 1)).all()


def test_equal_images_have_1_and_unlike_ones_less_than_blurred_ones():
    one = images(4, 32)
    torch.testing.assert_close(ms_ssim(one, one), torch.ones(4))
    blurred = F.avg_pool2d(F.pad(one, [1] * 4, mode="replicate"), 3, 1)
    assert (ms_ssim(blurred, one) > ms_ssim(images(4, 32, 5), one)).all()


@pytest.mark.parametrize("size", [8, 9, 19, 20, 44, 45, 79, 80, 175, 176])
def test_every_size_has_a_value(size):
    one = images(1, size)
    assert ms_ssim(one, one).item() == pytest.approx(1.0, abs=1e-5)
    if size == 176:
        assert scales_of(size) == (5, 11)


def linear_decoder(d, size=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(d, 3 * size**2), nn.Unflatten(1, (3, size, size)))


def coded(n, seed):
    """Grey images whose one shade is in the code."""
    shade = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    pictures = (shade * 255).round().to(torch.uint8)[:, None, None, None].expand(n, 3, 8, 8)
    return Coded(pictures.contiguous(), (4 * shade - 2)[:, None])


def test_a_code_that_tells_all_is_decoded_and_one_that_tells_nothing_gives_the_mean():
    train, test = coded(500, 0), coded(200, 1)
    settings = {"epochs": 18, "learning_rate": 3e-2}
    found = reconstruction(linear_decoder(1), train, test, **settings)
    assert found.square_error < 1e-3
    assert found.ms_ssim > 0.85
    blind = [Coded(part.images, torch.zeros_like(part.codes)) for part in (train, test)]
    mean = reconstruction(linear_decoder(1), *blind, **settings)
    assert mean.square_error == pytest.approx(1 / 12, rel=0.2)  # the variance of the shades
    assert mean.ms_ssim < found.ms_ssim


def test_the_figures_are_means_over_all_test_images():
    decoder, test = linear_decoder(1), coded(300, 1)
    found = reconstruction(decoder, coded(9, 0), test, epochs=1)
    made, true = decoder(test.codes).detach(), test.images / 255
    assert found.square_error == pytest.approx((made - true).square().mean().item(), rel=1e-5)
    assert found.ms_ssim == pytest.approx(ms_ssim(made, true).mean().item(), rel=1e-5)


class Noting(nn.Identity):
    """Notes in which mode it is used."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return x


def test_the_decoder_learns_in_training_mode_and_is_judged_in_eval_mode():
    noting = Noting()
    decoder = nn.Sequential(noting, linear_decoder(1)).eval()
    reconstruction(decoder, coded(64, 0), coded(9, 1), epochs=2, batch_size=32)
    assert noting.modes == [True] * 4 + [False]


def test_the_rate_is_divided_by_ten_for_the_last_third_and_the_last_sixth(monkeypatch):
    rates = watched_rates(monkeypatch)
    reconstruction(linear_decoder(1), coded(9, 0), coded(9, 1), epochs=6, learning_rate=0.5)
    assert rates == pytest.approx([0.5] * 4 + [0.05, 0.005])


def test_it_depends_on_the_decoder_and_its_seed_alone():
    train, test = coded(100, 0), coded(50, 1)
    first = reconstruction(linear_decoder(1), train, test, epochs=1)
    state = torch.get_rng_state()
    assert reconstruction(linear_decoder(1), train, test, epochs=1) == first
    torch.manual_seed(0)
    linear_decoder(1)
    assert torch.equal(torch.get_rng_state(), state)  # drawn by the decoder alone
    assert reconstruction(linear_decoder(1), train, test, epochs=1, seed=1) != first


def test_codes_may_carry_a_graph():
    train, test = coded(40, 0), coded(20, 1)
    learned = train._replace(codes=train.codes.clone().requires_grad_() * 1)
    found = reconstruction(linear_decoder(1), learned, test, epochs=2)
    assert found == reconstruction(linear_decoder(1), train, test, epochs=2)


def test_images_decoded_in_half_precision_are_judged_in_float32():
    def half():
        return torch.autocast("cpu", torch.bfloat16)

    parts = coded(64, 0), coded(30, 1)
    found = reconstruction(linear_decoder(1), *parts, epochs=1, context=half)
    exact = reconstruction(linear_decoder(1), *parts, epochs=1)
    assert found == pytest.approx(exact, rel=0.05)


def test_images_too_small_or_too_few_are_refused():
    train, test = coded(9, 0), coded(9, 1)
    tiny = test._replace(images=test.images[:, :, :7, :7])
    with pytest.raises(InputError, match=r"7 pixels.*evaluation\.decoder_epochs"):
        reconstruction(linear_decoder(1), train, tiny)
    with pytest.raises(InputError, match=r"1 training images.*evaluation\.decoder_epochs"):
        reconstruction(linear_decoder(1), coded(1, 0), test)


def test_float16_moves_every_weight_as_float32_does():
    """Gradients of a mean over all pixels would be below the smallest of its numbers."""
    train = coded(64, 0)
    moves = []
    for context in (nullcontext, partial(torch.autocast, "cpu", torch.float16)):
        decoder = linear_decoder(1)
        before = [p.detach().clone() for p in decoder.parameters()]
        reconstruction(decoder, train, train, epochs=1, batch_size=64, context=context)
        pairs = zip(decoder.parameters(), before, strict=True)
        moves.append([(after.detach() - weight).sign() for after, weight in pairs])
    for one, other in zip(*moves, strict=True):
        assert (one == other).double().mean() > 0.95
