import copy
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from learning_rates import watched_rates

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, linear_probe
from dim_lightning.evaluation.fine_tuning import LabelledImages, fine_tuned


def stripes(n, seed, size=8):
    """Class 0 vertical, class 1 horizontal, at random phase and contrast."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=generator)
    phase = torch.randint(0, 4, (n, 1), generator=generator)
    waves = ((torch.arange(size) + phase) // 2 % 2).float()[:, None, None].expand(n, 3, size, size)
    waves = torch.where(labels[:, None, None, None] == 1, waves.mT, waves)
    noise = torch.rand(n, 3, size, size, generator=generator)
    return LabelledImages((155 * waves + 100 * noise).to(torch.uint8), labels)


def small_encoder():
    torch.manual_seed(0)
    return BlogEncoder(8, widths=(4, 8), embedding_dim=2)


def frozen(encoder, part):
    with torch.no_grad():
        return Labelled(encoder.eval()(part.images / 255).mean, part.labels)


def test_it_learns_what_the_frozen_code_does_not_tell():
    parts = [stripes(n, seed) for n, seed in ((300, 0), (100, 1), (200, 2))]
    probe = linear_probe(*(frozen(small_encoder(), part) for part in parts), 2)
    found = fine_tuned(small_encoder(), parts[0], parts[2], 2, epochs=6, learning_rate=1e-2)
    assert found["top1"] > max(0.95, probe.top1 + 0.05)


def test_neither_the_encoder_nor_the_global_generator_changes():
    encoder, train, test = small_encoder(), stripes(70, 0), stripes(50, 1)
    encoder.mean.weight.requires_grad_(False)
    modes = [part.training for part in encoder.modules()]
    before, state = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    first = fine_tuned(encoder, train, test, 2, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert [part.training for part in encoder.modules()] == modes
    assert not encoder.mean.weight.requires_grad
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    assert fine_tuned(encoder, train, test, 2, epochs=1) == first


def test_weights_that_were_frozen_or_of_half_precision_learn_as_others_do():
    train, test = stripes(300, 0), stripes(200, 2)
    settings = {"epochs": 4, "learning_rate": 1e-2}
    half = small_encoder().bfloat16()
    found = fine_tuned(half.float(), train, test, 2, **settings)
    assert found["top1"] > 0.7
    assert fine_tuned(half.float().requires_grad_(False), train, test, 2, **settings) == found
    assert fine_tuned(half.bfloat16(), train, test, 2, **settings) == found


def test_it_learns_in_training_mode_and_is_judged_in_eval_mode():
    modes = []

    class Noting(BlogEncoder):
        def forward(self, images):
            modes.append(self.training)
            return super().forward(images)

    encoder = Noting(8, widths=(4, 8), embedding_dim=2).eval()
    fine_tuned(encoder, stripes(70, 0), stripes(50, 1), 2, epochs=1, batch_size=35)
    assert modes == [True, True, False]


def test_the_rate_is_divided_by_ten_for_the_last_third_and_the_last_sixth(monkeypatch):
    rates = watched_rates(monkeypatch)
    train, test = stripes(20, 0), stripes(20, 1)
    fine_tuned(small_encoder(), train, test, 2, epochs=6, learning_rate=1e-3)
    assert rates == pytest.approx([1e-3] * 4 + [1e-4, 1e-5])


def test_it_starts_from_the_weights_it_is_given():
    train, test = stripes(300, 0), stripes(200, 2)
    dead = small_encoder()
    with torch.no_grad():
        for parameter in dead.parameters():
            parameter.zero_()  # through which no gradient comes
    share = test.labels.bincount().max().item() / len(test.labels)
    assert fine_tuned(dead, train, test, 2, epochs=2)["top1"] <= share


def test_the_accuracy_is_that_of_the_test_images_as_they_come():
    train, test = stripes(300, 0), stripes(200, 2)
    flipped = test._replace(labels=1 - test.labels)
    settings = {"epochs": 2, "learning_rate": 1e-2}
    found, other = (fine_tuned(small_encoder(), train, p, 2, **settings) for p in (test, flipped))
    assert other["top1"] == pytest.approx(1 - found["top1"])


def test_works_in_the_precision_of_the_context_and_in_inference_mode():
    train, test = stripes(70, 0), stripes(50, 1)

    def context():
        return torch.autocast("cpu", torch.bfloat16)

    with torch.inference_mode():
        found = fine_tuned(small_encoder(), train, test, 2, epochs=1, context=context)
    assert 0 <= found["top1"] <= 1


def test_float16_learns_from_gradients_below_its_smallest_number(monkeypatch):
    """As those of images that are all but known already; without a scaled loss they are 0."""
    plain = torch.nn.functional.cross_entropy
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *each: plain(*each) * 1e-6)
    train, test = stripes(300, 0), stripes(200, 2)
    context = partial(torch.autocast, "cpu", torch.float16)
    settings = {"epochs": 4, "learning_rate": 1e-2}
    top1 = [
        fine_tuned(small_encoder(), train, test, 2, **settings, context=each)["top1"]
        for each in (nullcontext, context)
    ]
    assert min(top1) > 0.9


def test_a_single_labelled_image_is_refused():
    message = r"1 training images, of those with a label.*evaluation\.fine_tune_epochs"
    with pytest.raises(InputError, match=message):
        fine_tuned(small_encoder(), stripes(1, 0), stripes(9, 1), 2)
