from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from dim_lightning.data import Batch
from dim_lightning.encoders import (
    BlogEncoder,
    PaperEncoder,
    ResidualEncoder,
    StridedEncoder,
    TorchvisionEncoder,
)
from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled, knn_accuracy, mlp_probe
from dim_lightning.evaluation.offline import Splits, knn_figures, layer_figures, untrained
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.evaluation.svm import linear_svm


def split(n, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    return Labelled(
        nn.functional.one_hot(labels, 5) + torch.randn(n, 5, generator=generator), labels
    )


def splits(train=250):
    return Splits(split(train, 0), split(40, 1), split(60, 2))


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(20, dtype=torch.int64)
    return [Batch(torch.rand(20, 3, 8, 8, generator=generator), labels, torch.arange(20))]


def small_encoder():
    torch.manual_seed(0)
    encoder = BlogEncoder(8, widths=(4, 8), embedding_dim=5)
    for part in encoder.parameters():
        part.data += 1.0
    return encoder


def test_every_protocol_is_measured_and_named():
    result = layer_figures(splits(), 3, mlp_epochs=1)
    assert set(result.figures) == {
        "probe/linear",
        "probe/mlp200",
        "knn/cosine/k20_t0.07",
        "knn/cosine/k200_t0.1",
        "knn/euclidean/k20",
        "knn/euclidean/k200",
    }
    assert all(0.34 < top1 <= 1 for top1 in result.figures.values())
    assert result.figures["probe/linear"] == result.linear.top1


def test_the_linear_probe_is_left_out_where_there_are_more_features_than_asked_for():
    data = splits()
    dim = data.train.features.shape[1]
    assert layer_figures(data, 3, mlp_epochs=0, linear_dim=dim).linear is not None
    without = layer_figures(data, 3, mlp_epochs=0, linear_dim=dim - 1)
    assert without.linear is None
    assert without.figures == knn_figures(data, 3)


def test_the_svm_is_measured_where_it_is_asked_for_and_the_features_are_few():
    data = splits()
    result = layer_figures(data, 3, mlp_epochs=0, svm=True)
    assert result.svm == linear_svm(*data)
    assert result.figures["probe/svm"] == result.svm.top1
    without = layer_figures(data, 3, mlp_epochs=0, svm=True, linear_dim=4)
    assert without.svm is None
    assert without.figures == knn_figures(data, 3)


def test_repeats_give_mean_and_standard_deviation_over_seeds():
    data = splits()
    result = layer_figures(data, 3, mlp_epochs=1, seed=5, repeats=3)
    tops = [mlp_probe(data.train, data.test, 3, epochs=1, seed=seed) for seed in (5, 6, 7)]
    assert len(set(tops)) > 1
    assert result.figures["probe/mlp200"] == pytest.approx(np.mean(tops))
    assert result.deviations == {"probe/mlp200": pytest.approx(np.std(tops, ddof=1))}
    assert layer_figures(data, 3, mlp_epochs=1).deviations == {}
    assert layer_figures(data, 3, mlp_epochs=0, repeats=3).deviations == {}


def test_the_papers_protocol_stands_in_for_the_short_one():
    data = Splits(*(split(n, n) for n in (30, 40, 60)))
    result = layer_figures(data, 3, mlp_epochs=1, mlp_protocol="paper", repeats=2)
    first, second = (paper_probe(*data, 3, seed=seed) for seed in (0, 1))
    probes = {"probe/mlp200_paper", "probe/mlp200_paper_chosen"}
    assert {name for name in result.figures if "mlp" in name} == probes == set(result.deviations)
    mean = (first.top1 + second.top1) / 2
    assert result.figures["probe/mlp200_paper"] == pytest.approx(mean)
    chosen = (first.chosen_top1 + second.chosen_top1) / 2
    assert result.figures["probe/mlp200_paper_chosen"] == pytest.approx(chosen)
    without = layer_figures(data, 3, mlp_epochs=0, mlp_protocol="paper")
    assert not probes & set(without.figures)


def test_knn_figures_are_those_of_one_vote_each():
    data = splits()
    figures = knn_figures(data, 3)
    for metric in ("cosine", "euclidean"):
        for k, t in ((20, 0.07), (200, 0.1)):
            top1 = knn_accuracy(data.test.features, data.test.labels, *data.train, 3, k, t, metric)
            name = f"knn/{metric}/k{k}" + (f"_t{t}" if metric == "cosine" else "")
            assert figures[name] == top1


def test_settings_that_the_training_split_is_too_small_for_are_left_out():
    assert set(knn_figures(splits(train=50), 3)) == {"knn/cosine/k20_t0.07", "knn/euclidean/k20"}
    assert knn_figures(splits(train=10), 3) == {}


@pytest.mark.parametrize(
    "make",
    [
        partial(BlogEncoder, widths=(4, 8), attention_heads=2, scales=1),
        partial(PaperEncoder, widths=(4, 8), hidden_dim=8, gaussian=True),
        partial(ResidualEncoder, widths=(4, 4, 8, 8), hidden_dim=8, bottleneck=True),
        partial(StridedEncoder, widths=(4, 8), blocks=(1,)),
        partial(TorchvisionEncoder, hidden_dim=8),
    ],
)
def test_every_encoder_can_be_drawn_anew_as_it_was_made(make):
    torch.manual_seed(0)
    encoder = make(8)
    for part in encoder.parameters():
        part.data += 1.0
    fresh = untrained(encoder, images(), "cpu", seed=0)
    torch.manual_seed(1)
    for (name, value), made in zip(fresh.named_parameters(), make(8).parameters(), strict=True):
        spread = made.std() if made.numel() > 1 else torch.zeros(())
        assert abs(value.mean() - made.mean()) <= 3 * spread + 1e-6, name


def test_an_untrained_encoder_has_fresh_weights_and_fitting_statistics():
    encoder = small_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    fresh = untrained(encoder, images(), "cpu", seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any(part.training for part in fresh.modules())
    for name, value in fresh.named_parameters():
        if value.ndim > 1:
            assert not torch.equal(value, before[name]), name
    with torch.no_grad():
        activations = fresh.local_trunk[:2](fresh_pixels(fresh, images()))
    torch.testing.assert_close(activations.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(activations.var((0, 2, 3)), torch.ones(4), atol=1e-2, rtol=0)


class Frozen(nn.Identity):
    """A part that should not be in training mode when it is used."""

    def forward(self, x):
        assert not self.training
        return x


def test_only_batch_norms_train_while_the_statistics_are_taken():
    encoder = small_encoder()
    encoder.local_trunk.insert(0, Frozen())
    untrained(encoder, images(), "cpu")


def fresh_pixels(encoder, batches):
    low, high = encoder.pixel_range
    return batches[0].images * (high - low) + low


def test_the_floor_depends_on_its_seed_alone():
    torch.manual_seed(5)
    first = untrained(small_encoder(), images(), "cpu", seed=0).state_dict()
    torch.manual_seed(6)
    again = untrained(small_encoder(), images(), "cpu", seed=0).state_dict()
    other = untrained(small_encoder(), images(), "cpu", seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["mean.weight"], other["mean.weight"])


def test_the_floor_knows_no_order_of_the_images_and_no_size_of_their_batches():
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(5, 3, 1, 1, generator=generator).repeat_interleave(103, dim=0)
    classes = colours + 0.1 * torch.rand(515, 3, 8, 8, generator=generator)
    none = torch.zeros(515, dtype=torch.int64)

    def floor(size):
        parts = classes.split(size)
        batches = [Batch(part, none[: len(part)], none[: len(part)]) for part in parts]
        encoder = PaperEncoder(8, widths=(4, 8), hidden_dim=8)
        return untrained(encoder, batches, "cpu").state_dict()

    ones, others = floor(257), floor(103)  # a last batch of a single image; a class each
    assert all(torch.equal(ones[name], others[name]) for name in ones)
    torch.testing.assert_close(
        ones["local_trunk.0.1.running_var"],
        convolved(ones, classes).var((0, 2, 3)),
        rtol=0.05,
        atol=0,
    )


def convolved(weights, images):
    filters = weights["local_trunk.0.0.weight"]
    return nn.functional.conv2d(2 * images - 1, filters, stride=2, padding=1)


def test_weights_that_cannot_be_drawn_anew_are_named():
    encoder = small_encoder()
    encoder.head = nn.ParameterList([nn.Parameter(torch.ones(2))])
    with pytest.raises(InputError, match="'head' has parameters and no reset_parameters"):
        untrained(encoder, images(), "cpu")
