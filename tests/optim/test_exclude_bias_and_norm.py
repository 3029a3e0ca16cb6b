import copy
from functools import partial

import pytest
import torch
from torch import nn

from dim_lightning.hyperparameters import part_text
from dim_lightning.optim import ExcludeBiasAndNorm, MuonAdamW

SGD = partial(torch.optim.SGD, lr=0.1, weight_decay=0.5)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2)
    )


@pytest.mark.parametrize(
    "make", [SGD, torch.optim.AdamW, partial(MuonAdamW, filter_lr=0.1, weight_decay=0.5)]
)
def test_weights_alone_shrink_where_no_gradient_moves_anything(make):
    module = network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    optimizer = ExcludeBiasAndNorm(module.parameters(), make)
    optimizer.step()
    kept = {name for name, value in module.named_parameters() if torch.equal(value, value * 0 + 1)}
    assert kept == {"0.bias", "1.bias", "2.weight", "2.bias", "4.bias"}


def test_it_is_the_optimiser_itself():
    optimizer = ExcludeBiasAndNorm(network().parameters(), SGD)
    assert type(optimizer) is torch.optim.SGD
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert type(ExcludeBiasAndNorm(network().parameters())) is torch.optim.AdamW


def test_without_decay_it_changes_nothing():
    one, two = network(), network()
    make = partial(torch.optim.AdamW, lr=0.1, weight_decay=0.0)
    optimizers = make(one.parameters()), ExcludeBiasAndNorm(two.parameters(), make)
    for module, optimizer in zip((one, two), optimizers, strict=True):
        module(torch.ones(2, 3, 1, 1)).square().sum().backward()
        optimizer.step()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_groups_keep_their_settings():
    module = network()
    head = {"params": module[4].parameters(), "lr": 0.7}
    optimizer = ExcludeBiasAndNorm([{"params": list(module[:4].parameters())}, head], SGD)
    found = [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups]
    assert found == [(0.1, 0.5, 2), (0.1, 0.0, 4), (0.7, 0.5, 1), (0.7, 0.0, 1)]


def test_parameters_may_have_names():
    found = ExcludeBiasAndNorm(network().named_parameters(), SGD).param_groups
    assert [group["weight_decay"] for group in found] == [0.5, 0.0]
    assert found[0]["param_names"] == ["0.weight", "1.weight", "4.weight"]
    assert all(isinstance(p, nn.Parameter) for group in found for p in group["params"])


def test_its_text_tells_of_the_optimiser():
    text = part_text(partial(ExcludeBiasAndNorm, optimizer=copy.copy(SGD)))
    assert "ExcludeBiasAndNorm, optimizer=partial(torch.optim.sgd.SGD, lr=0.1" in text
