import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dim_lightning.errors import InputError
from dim_lightning.optim import MuonAdamW, muon_adamw
from dim_lightning.optim.muon_adamw import orthogonalised


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Flatten(),
        nn.Linear(4 * 16, 5),
    )


def descend(network, optimizer, steps, first=0):
    for step in range(first, first + steps):
        images = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()


@pytest.fixture(params=[True, False], ids=["bfloat16", "float32"])
def quick(request, monkeypatch):
    """Whether the processor is quick in bfloat16."""
    monkeypatch.setattr(muon_adamw, "multiplies_bfloat16", lambda device: request.param)
    return request.param


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_singular_values_come_to_about_one(shape, quick):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.5 < values.min() <= values.max() < 1.3
    # the same directions: what is left of them are the new singular values
    turned = left.mT @ found @ right.mT
    torch.testing.assert_close(
        turned, turned.diagonal().diag(), atol=0.1 if quick else 1e-5, rtol=0.0
    )


@pytest.mark.parametrize("shape", [(24, 90), (90, 24), (40, 40)])
@pytest.mark.parametrize(("decades", "tolerance"), [(0, 1e-5), (5, 1e-3)])
def test_float32_gives_the_iterates_of_the_polynomial(shape, decades, tolerance, monkeypatch):
    monkeypatch.setattr(muon_adamw, "multiplies_bfloat16", lambda device: False)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values * torch.logspace(0, -decades, len(values), dtype=torch.float64)
    found = orthogonalised((left * values @ right).float()).double()
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    difference = found - left * values @ right
    assert difference.norm() < tolerance * values.norm()


@pytest.mark.parametrize("imitates", [True, False])
def test_a_gpu_that_imitates_bfloat16_multiplies_float32(monkeypatch, imitates):
    seen = []
    monkeypatch.setattr(muon_adamw, "imitates_bfloat16", lambda device: imitates)
    monkeypatch.setattr(muon_adamw, "_iterated", lambda x: seen.append(x.dtype) or x)
    orthogonalised(torch.empty(4, 5, device="meta"))
    assert seen == [torch.float32 if imitates else torch.bfloat16]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="a PyTorch before its Muon")
@pytest.mark.parametrize(("inputs", "outputs"), [(6, 4), (4, 60)])
def test_filters_move_as_torchs_muon_moves_their_matrix(inputs, outputs, monkeypatch):
    monkeypatch.setattr(muon_adamw, "multiplies_bfloat16", lambda device: True)  # torch's always do
    torch.manual_seed(0)
    filters = nn.Conv2d(inputs, outputs, 3, bias=False).weight
    matrix = nn.Parameter(filters.detach().flatten(1).clone())
    reference = torch.optim.Muon([matrix], lr=0.05, momentum=0.9, weight_decay=0.1)
    ours = MuonAdamW([filters], filter_lr=0.05, momentum=0.9, weight_decay=0.1)
    for step in range(5):
        gradient = torch.randn(filters.shape, generator=torch.Generator().manual_seed(step))
        filters.grad, matrix.grad = gradient, gradient.flatten(1)
        ours.step()
        reference.step()
    torch.testing.assert_close(filters.flatten(1), matrix, rtol=0.0, atol=1e-4)


def laid(values, layout):
    return values.clone(memory_format=layout)


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (60, 4, 3, 3), (5, 6, 1, 1)])
def test_filters_move_alike_in_either_layout(shape, quick):
    layouts = [torch.contiguous_format, torch.channels_last]
    start = torch.randn(shape, generator=torch.Generator().manual_seed(9))
    both = [nn.Parameter(laid(start, layout)) for layout in layouts]
    optimizers = [MuonAdamW([p], filter_lr=0.05, weight_decay=0.1) for p in both]
    for step in range(3):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step))
        for filters, optimizer, layout in zip(both, optimizers, layouts, strict=True):
            filters.grad = laid(gradient, layout)
            optimizer.step()
            assert filters.is_contiguous(memory_format=layout)
    assert not torch.allclose(both[0], start, atol=1e-2)
    torch.testing.assert_close(*both, rtol=0.0, atol=1e-5)


class Copies(TorchDispatchMode):
    """Counts whole copies of tensors."""

    found = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found += function is torch.ops.aten.clone.default
        return function(*args, **(kwargs or {}))


def test_filters_of_the_encoders_layout_are_not_copied(monkeypatch):
    monkeypatch.setattr(muon_adamw, "orthogonalised", lambda matrix: matrix)
    copies = []
    for layout in (torch.channels_last, torch.contiguous_format):
        filters = nn.Parameter(laid(torch.randn(8, 6, 3, 3), layout))
        filters.grad = laid(torch.randn(8, 6, 3, 3), layout)
        with Copies() as counted:
            MuonAdamW([filters]).step()
        copies.append(counted.found)
    assert copies == [0, 1]  # the other one is copied into that layout


def test_everything_else_moves_as_by_adamw(network):
    filters = network[3].weight.requires_grad_(False)
    other = copy.deepcopy(network)
    settings = {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}
    with pytest.warns(UserWarning, match="no filters"):
        optimizer = MuonAdamW(network.parameters(), **settings)
    descend(network, optimizer, 3)
    rest = [p for p in other.parameters() if p.requires_grad]
    descend(other, torch.optim.AdamW(rest, fused=True, **settings), 3)
    assert not torch.equal(network[0].weight, nn.Conv2d(3, 6, 3).weight)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    assert torch.equal(network[3].weight, filters)


def test_the_state_is_whole(network):
    straight = copy.deepcopy(network)
    descend(straight, MuonAdamW(straight.parameters()), 4)
    first = MuonAdamW(network.parameters())
    descend(network, first, 2)
    second = MuonAdamW(network.parameters())
    second.load_state_dict(first.state_dict())
    descend(network, second, 2, first=2)
    for one, two in zip(network.parameters(), straight.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_restored_state_goes_where_the_parameters_are(network):
    first = MuonAdamW(network.parameters())
    descend(network, first, 1)
    elsewhere = copy.deepcopy(network).to("meta")
    second = MuonAdamW(elsewhere.parameters())
    second.load_state_dict(first.state_dict())
    tensors = [value for state in second.state.values() for value in state.values()]
    assert {value.device.type for value in tensors} == {"meta"}


def test_a_network_without_filters_is_trained_by_adamw():
    network = nn.Linear(2, 1)
    before = network.weight.clone()
    with pytest.warns(UserWarning, match="was given no filters .* and so is AdamW"):
        optimizer = MuonAdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(network.weight, before)


@pytest.mark.parametrize(
    "setting",
    [
        {"lr": -1.0},
        {"filter_lr": -0.1},
        {"momentum": 1.0},
        {"weight_decay": -0.1},
        {"eps": -1.0},
        {"betas": (1.5, 0.9)},
        {"betas": (0.9, 1.0)},
    ],
)
def test_numbers_that_cannot_be_are_refused(setting):
    with pytest.raises(InputError, match=rf"{next(iter(setting))} .*; set model\.optimizer"):
        MuonAdamW(nn.Linear(2, 1).parameters(), **setting)


def test_groups_move_as_by_optimisers_of_their_own(network):
    """Filters and others are told apart in each of them."""
    other = copy.deepcopy(network)
    early, late = list(network[:2].parameters()), list(network[2:].parameters())
    slow = {"lr": 1e-4, "filter_lr": 1e-3, "weight_decay": 0.5}
    descend(network, MuonAdamW([{"params": early, **slow}, {"params": late}], weight_decay=0.1), 3)
    first = torch.optim.AdamW(other[:2].parameters(), lr=1e-4, weight_decay=0.5, fused=True)
    second = MuonAdamW(other[2:].parameters(), weight_decay=0.1)
    first.register_step_post_hook(lambda *_: (second.step(), second.zero_grad()))
    descend(other, first, 3)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_what_was_frozen_moves_from_when_it_is_not(network):
    network[2:].requires_grad_(False)
    with pytest.warns(UserWarning, match="no filters .* to train"):
        optimizer = MuonAdamW(network.parameters())
    before = copy.deepcopy(network)
    descend(network, optimizer, 1)
    assert torch.equal(network[3].weight, before[3].weight)
    network.requires_grad_(True)
    descend(network, optimizer, 1, first=1)
    for one, two in zip(network.parameters(), before.parameters(), strict=True):
        assert not torch.equal(one, two)


@pytest.mark.parametrize("rates", [{}, {"lr": 1e-4}, {"filter_lr": 1e-3, "weight_decay": 0.5}])
def test_a_group_that_comes_later_is_one_as_any(network, rates):
    """As of callbacks that unfreeze layers one by one."""
    other = copy.deepcopy(network)
    settings = {"lr": 3e-3, "filter_lr": 0.1, "weight_decay": 0.1}
    early, late = network[:2].parameters(), {"params": network[2:].parameters(), **rates}
    with pytest.warns(UserWarning, match="no filters"):
        optimizer = MuonAdamW(early, **settings)
    optimizer.add_param_group(late)
    at_once = [
        {"params": other[:2].parameters()},
        {"params": other[2:].parameters(), **settings, **rates},
    ]
    descend(network, optimizer, 3)
    descend(other, MuonAdamW(at_once, **settings), 3)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_group_may_be_a_single_parameter(network):
    optimizer = MuonAdamW(network[3:].parameters())
    optimizer.add_param_group({"params": network[0].weight})
    found = [(group["filters"], len(group["params"])) for group in optimizer.param_groups]
    assert found == [(True, 1), (False, 3), (False, 1)]


def test_parameters_may_have_names(network):
    other = copy.deepcopy(network)
    named = MuonAdamW(network.named_parameters())
    names = [group["param_names"] for group in named.param_groups]
    assert names == [["3.weight"], [n for n, _ in network.named_parameters() if n != "3.weight"]]
    descend(network, named, 3)
    descend(other, MuonAdamW(other.parameters()), 3)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
