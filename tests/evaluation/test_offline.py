import numpy as np
import pytest
import torch
from torch import nn

from dim_lightning.evaluation import Labelled, knn_accuracy, linear_probe, mlp_probe
from dim_lightning.evaluation.labelled import few_labelled
from dim_lightning.evaluation.offline import Splits, knn_figures, layer_figures
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
    assert all(0.34 < found["top1"] <= 1 for found in result.figures.values())
    assert result.figures["probe/linear"] == result.linear.test


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
    assert result.figures["probe/svm"] == result.svm.test
    without = layer_figures(data, 3, mlp_epochs=0, svm=True, linear_dim=4)
    assert without.svm is None
    assert without.figures == knn_figures(data, 3)


def test_repeats_give_mean_and_standard_deviation_over_seeds():
    data = splits()
    result = layer_figures(data, 3, mlp_epochs=1, seed=5, repeats=3)
    probes = [mlp_probe(data.train, data.test, 3, epochs=1, seed=seed) for seed in (5, 6, 7)]
    tops = [found["top1"] for found in probes]
    assert len(set(tops)) > 1
    assert result.figures["probe/mlp200"] == {
        "top1": pytest.approx(np.mean(tops)),
        "mean_per_class": pytest.approx(np.mean([found["mean_per_class"] for found in probes])),
        "top1_std": pytest.approx(np.std(tops, ddof=1)),
    }
    assert repeated(result) == {"probe/mlp200"}
    assert repeated(layer_figures(data, 3, mlp_epochs=1)) == set()
    assert repeated(layer_figures(data, 3, mlp_epochs=0, repeats=3)) == set()


def repeated(result):
    return {protocol for protocol, found in result.figures.items() if "top1_std" in found}


def test_few_labels_are_a_share_of_each_class_and_choose_the_penalty_as_well():
    data = splits()
    for share, count in ((0.1, 3), (0.5, 2)):
        few = [few_labelled(data.train, share, seed) for seed in range(count)]
        found = layer_figures(data, 3, mlp_epochs=0, repeats=count, few_labels=[share])
        tops = [
            linear_probe(train, few_labelled(data.val, share, seed), data.test, 3).top1
            for seed, train in enumerate(few)
        ]
        name = f"probe/few_labels/{share}"
        assert found.figures[name]["top1"] == pytest.approx(np.mean(tops))
        assert found.figures[name]["top1_std"] == pytest.approx(np.std(tops, ddof=1))
        assert repeated(found) == {name}
        assert found.not_converged == []
    assert name not in layer_figures(data, 3, mlp_epochs=0, linear_dim=1, few_labels=[0.1]).figures


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_few_labels_are_drawn_class_by_class(share):
    labels = torch.tensor([0] * 50 + [1] * 30 + [4] * 2)
    part = Labelled(torch.arange(82.0)[:, None], labels)
    few = few_labelled(part, share, seed=1)
    assert few.labels.bincount().tolist() == [share * 50, share * 30, 0, 0, 1]
    assert torch.equal(labels[few.features[:, 0].long()], few.labels)
    other, larger = (few_labelled(part, s, seed) for s, seed in ((share, 2), (0.6, 1)))
    assert not torch.equal(few.features, other.features)
    assert set(few.features[:, 0].tolist()) < set(larger.features[:, 0].tolist())


def test_the_papers_protocol_stands_in_for_the_short_one():
    data = Splits(*(split(n, n) for n in (30, 40, 60)))
    result = layer_figures(data, 3, mlp_epochs=1, mlp_protocol="paper", repeats=2)
    first, second = (paper_probe(*data, 3, seed=seed) for seed in (0, 1))
    probes = {"probe/mlp200_paper", "probe/mlp200_paper_chosen"}
    assert {name for name in result.figures if "mlp" in name} == probes == repeated(result)
    for kind in ("top1", "mean_per_class"):
        mean = (first.averaged[kind] + second.averaged[kind]) / 2
        assert result.figures["probe/mlp200_paper"][kind] == pytest.approx(mean)
        chosen = (first.chosen[kind] + second.chosen[kind]) / 2
        assert result.figures["probe/mlp200_paper_chosen"][kind] == pytest.approx(chosen)
    without = layer_figures(data, 3, mlp_epochs=0, mlp_protocol="paper")
    assert not probes & set(without.figures)


def test_knn_figures_are_those_of_one_vote_each():
    data = splits()
    figures = knn_figures(data, 3)
    for metric in ("cosine", "euclidean"):
        for k, t in ((20, 0.07), (200, 0.1)):
            settings = {"k": k, "temperature": t, "metric": metric}
            top1 = knn_accuracy(data.test.features, data.test.labels, *data.train, 3, **settings)
            name = f"knn/{metric}/k{k}" + (f"_t{t}" if metric == "cosine" else "")
            assert figures[name]["top1"] == top1


def test_settings_that_the_training_split_is_too_small_for_are_left_out():
    assert set(knn_figures(splits(train=50), 3)) == {"knn/cosine/k20_t0.07", "knn/euclidean/k20"}
    assert knn_figures(splits(train=10), 3) == {}
