import pytest
import torch
import torch.nn.functional as F
from learning_rates import watched_rates
from small_features import blobs
from torch import nn

from dim_lightning.errors import InputError
from dim_lightning.evaluation import Labelled
from dim_lightning.evaluation.paper_probe import paper_probe
from dim_lightning.seeding import generator_for


def reference(train, parts, epochs, milestones, seed):
    """The accuracies on `parts` after each epoch, spelt out."""
    curve = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(train.features.shape[1], 200), nn.Dropout(0.1), nn.BatchNorm1d(200)]
        network = nn.Sequential(*layers, nn.ReLU(), nn.Linear(200, 3))
        adam = torch.optim.Adam(network.parameters(), 1e-4)
        for epoch in range(epochs):
            adam.param_groups[0]["lr"] = 1e-4 * 0.1 ** sum(epoch >= m for m in milestones)
            order = torch.randperm(len(train.labels), generator=generator_for(seed, epoch))
            network.train()
            for rows in order.split(64):
                loss = F.cross_entropy(network(train.features[rows]), train.labels[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
            network.eval()
            with torch.no_grad():
                curve.append([(network(x).argmax(1) == y).double().mean().item() for x, y in parts])
    return zip(*curve, strict=True)


def test_it_averages_the_last_epochs_and_chooses_one_by_validation():
    train, val, test = blobs(130, 0), blobs(100, 1), blobs(100, 2)
    result = paper_probe(train, val, test, 3, epochs=12, milestones=(4, 8), averaged=5, seed=3)
    on_val, on_test = map(list, reference(train, (val, test), 12, (4, 8), 3))
    assert len(set(on_test[-5:])) > 1  # or the mean of all would do as well
    assert result.averaged["top1"] == pytest.approx(sum(on_test[-5:]) / 5)
    assert result.epoch == on_val.index(max(on_val)) + 1
    assert result.val_top1 == max(on_val)
    assert result.chosen["top1"] == on_test[result.epoch - 1]


def test_by_default_epochs_rates_and_batches_are_those_of_the_paper(monkeypatch):
    rates = watched_rates(monkeypatch)
    train, part = blobs(66, 0), blobs(3, 1)
    paper_probe(train, part, part, 3)
    expected = [1e-4] * 50 + [1e-5] * 50 + [1e-6] * 100
    assert rates == pytest.approx([rate for rate in expected for _ in range(2)])


def test_the_test_split_chooses_nothing():
    train, val, test = blobs(130, 0), blobs(100, 1), blobs(100, 2)
    one = paper_probe(train, val, test, 3, epochs=6)
    other = paper_probe(train, val, test._replace(labels=test.labels.roll(1)), 3, epochs=6)
    assert (one.epoch, one.val_top1) == (other.epoch, other.val_top1)
    assert one.chosen != other.chosen


def test_it_depends_on_its_seed_alone_and_on_the_scale_of_the_features():
    train, val, test = blobs(130, 0), blobs(100, 1), blobs(100, 2)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = paper_probe(train, val, test, 3, epochs=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert paper_probe(train, val, test, 3, epochs=3) == first
    assert paper_probe(train, val, test, 3, epochs=3, seed=1) != first
    scaled = [part._replace(features=part.features * 100) for part in (train, val, test)]
    assert paper_probe(*scaled, 3, epochs=3) != first  # not standardised, as in the paper


def test_features_of_half_precision_are_those_of_float32():
    halves = [blobs(n, n)._replace(features=blobs(n, n).features.half()) for n in (130, 100, 90)]
    floats = [part._replace(features=part.features.float()) for part in halves]
    assert paper_probe(*halves, 3, epochs=3) == paper_probe(*floats, 3, epochs=3)


def test_a_single_image_is_refused():
    one = Labelled(torch.randn(1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(InputError, match=r"1 training images.*evaluation\.mlp_epochs"):
        paper_probe(one, one, one, 3)
