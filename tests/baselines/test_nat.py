from itertools import permutations
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from small_methods import DIM, SETTINGS, SIZE, batch, build, digits, trainer

from dim_lightning.baselines import NAT
from dim_lightning.data import Batch
from dim_lightning.errors import InputError
from dim_lightning.seeding import generator_for


def distances(module, one):
    """Square distance of each code's direction to the target that its image has."""
    directions = F.normalize(module.encoder(one.images).mean, dim=1)
    targets = module.targets[module.assignment[one.indices]]
    return (directions - targets).square().sum(1)


def test_targets_lie_on_the_sphere_and_follow_from_the_seed():
    module, again, other = build(NAT), build(NAT), build(NAT, seed=1)
    torch.testing.assert_close(module.targets.norm(dim=1), torch.ones(64))
    assert module.targets.shape == (64, DIM)
    assert torch.equal(module.targets, again.targets)
    assert not torch.isclose(module.targets, other.targets).any()


def test_targets_are_drawn_apart_from_the_first_steps():
    targets = build(NAT).targets
    for stage in range(3):
        drawn = torch.randn(targets.shape, generator=generator_for(0, stage))
        assert not torch.isclose(F.normalize(drawn, dim=1), targets).any()


def test_only_training_draws_targets():
    module = NAT(**SETTINGS[NAT], image_size=SIZE)
    module.setup("validate")
    assert len(module.targets) == 0
    module._trainer = SimpleNamespace()  # which has loaders alone
    with pytest.raises(InputError, match="given no ImageDataModule, and NAT has a target"):
        module.setup("fit")


def test_the_loss_is_the_mean_square_distance():
    module, one = build(NAT), batch()
    _, terms = module.code_and_terms(one, torch.Generator())
    torch.testing.assert_close(terms["loss"], distances(module, one).mean())


def test_dealing_out_is_the_best_of_all_ways():
    module, one = build(NAT).eval(), batch(5)
    held = module.assignment[one.indices].clone()
    directions = F.normalize(module.encoder(one.images).mean, dim=1)
    costs = {
        order: (directions - module.targets[held[list(order)]]).square().sum().item()
        for order in permutations(range(5))
    }
    before = distances(module, one).sum().item()
    module._deal_out(directions.detach(), one.indices)
    best = min(costs, key=costs.get)
    assert torch.equal(module.assignment[one.indices], held[list(best)])
    assert distances(module, one).sum().item() == pytest.approx(costs[best], rel=1e-5)
    assert costs[best] < before


def test_codes_that_are_no_numbers_leave_the_targets_where_they_are():
    module, one = build(NAT), batch(5)
    before = module.assignment.clone()
    module._deal_out(torch.full((5, DIM), torch.nan), one.indices)
    assert torch.equal(module.assignment, before)


def test_the_others_keep_their_targets_and_nobody_shares_one():
    module, one = build(NAT), batch(20)
    for step in range(5):
        module.code_and_terms(batch(20, seed=step), torch.Generator())
    assert torch.equal(module.assignment.sort().values, torch.arange(64))
    untouched = torch.ones(64, dtype=torch.bool)
    untouched[one.indices] = False
    assert torch.equal(module.assignment[untouched], torch.arange(64)[untouched])
    assert not torch.equal(module.assignment, torch.arange(64))


def test_targets_stay_where_they_are_between_the_epochs_of_dealing_out(monkeypatch):
    module = build(NAT, every_n_epochs=2)
    monkeypatch.setattr(NAT, "current_epoch", 1)
    module.code_and_terms(batch(20), torch.Generator())
    assert torch.equal(module.assignment, torch.arange(64))
    monkeypatch.setattr(NAT, "current_epoch", 2)
    module.code_and_terms(batch(20), torch.Generator())
    assert not torch.equal(module.assignment, torch.arange(64))


def test_codes_learn_to_lie_where_their_targets_are():
    """Both parts lower the distance: the network learns, and the dealing out follows it."""
    module, one = build(NAT, every_n_epochs=1), batch(32)
    one = one._replace(indices=torch.arange(32))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        _, terms = module.code_and_terms(one, torch.Generator())
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert losses[0] < 2
    assert losses[-1] < 0.3 * losses[0]


def test_validation_images_have_codes_and_no_terms():
    module = build(NAT).eval()
    code, terms = module.code_and_terms(batch(), torch.Generator())
    assert code.shape == (8, DIM)
    assert terms == {}


def test_a_checkpoint_keeps_who_has_which_target():
    module, one = build(NAT), batch(20)
    module.code_and_terms(one, torch.Generator())
    checkpoint = {}
    module.on_save_checkpoint(checkpoint)
    again = build(NAT)
    again.on_load_checkpoint(checkpoint)
    assert torch.equal(again.assignment, module.assignment)
    module.code_and_terms(Batch(*batch(20, seed=1)), torch.Generator())
    assert not torch.equal(again.assignment, module.assignment)  # nothing is shared


def test_training_goes_on_with_the_targets_that_it_began_with():
    """Whatever the seed is by then; at another one, and once more at a third."""
    first, checkpoint = build(NAT), {}
    first.code_and_terms(batch(20), torch.Generator())
    first.on_save_checkpoint(checkpoint)
    for seed in (1, 2):
        later = build(NAT, seed=seed)
        assert not torch.equal(later.targets, first.targets)
        later.on_load_checkpoint(checkpoint)
        assert torch.equal(later.targets, first.targets)
        assert torch.equal(later.assignment, first.assignment)
        checkpoint = {}
        later.on_save_checkpoint(checkpoint)


def test_a_checkpoint_without_the_seed_of_its_targets_has_the_modules():
    checkpoint = {}
    build(NAT, seed=1).on_save_checkpoint(checkpoint)
    del checkpoint["targets_seed"]
    module = build(NAT, seed=1)
    before = module.targets
    module.on_load_checkpoint(checkpoint)
    assert torch.equal(module.targets, before)


def test_a_second_fit_goes_on_with_who_has_which_target(tmp_path, data_root):
    module, data = build(NAT), digits(data_root)
    trainer(tmp_path, max_steps=1).fit(module, data)
    targets, assignment = module.targets, module.assignment.clone()
    assert not torch.equal(assignment, torch.arange(len(assignment)))
    trainer(tmp_path, max_epochs=0).fit(module, data)
    assert torch.equal(module.targets, targets)
    assert torch.equal(module.assignment, assignment)


def test_other_images_begin_with_targets_of_the_modules_seed():
    checkpoint = {}
    build(NAT).on_save_checkpoint(checkpoint)
    module, fresh = NAT(**SETTINGS[NAT], image_size=SIZE, seed=1), build(NAT, seed=1)
    module.on_load_checkpoint(checkpoint)
    for other in (module, fresh):
        other.draw_targets(65)
    assert torch.equal(module.targets, fresh.targets)
    assert torch.equal(module.assignment, torch.arange(65))


def test_a_checkpoint_of_other_data_is_refused():
    checkpoint = {}
    build(NAT).on_save_checkpoint(checkpoint)
    other = build(NAT)
    other.draw_targets(65)
    with pytest.raises(InputError, match="targets for 64 training images, but there are 65"):
        other.on_load_checkpoint(checkpoint)


def test_a_checkpoint_is_taken_up_where_there_are_no_targets():
    """As before an evaluation."""
    checkpoint = {}
    build(NAT).on_save_checkpoint(checkpoint)
    module = NAT(**SETTINGS[NAT], image_size=SIZE)
    module.on_load_checkpoint(checkpoint)
    assert torch.equal(module.assignment, torch.arange(64))


def test_a_fit_of_what_was_loaded_goes_on_from_there():
    first, checkpoint = build(NAT), {}
    first.code_and_terms(batch(20), torch.Generator())
    first.on_save_checkpoint(checkpoint)
    module = NAT(**SETTINGS[NAT], image_size=SIZE, seed=1)
    module.on_load_checkpoint(checkpoint)
    module.draw_targets(64)
    assert torch.equal(module.targets, first.targets)
    assert torch.equal(module.assignment, first.assignment)


def test_targets_that_are_dealt_out_every_0_epochs_are_refused():
    with pytest.raises(InputError, match="every_n_epochs is 0; expected at least 1"):
        build(NAT, every_n_epochs=0)


def test_targets_are_not_sent_before_each_step():
    """DistributedDataParallel sends all buffers."""
    buffers = {name for name, _ in build(NAT).named_buffers()}
    assert buffers
    assert not {"targets", "assignment"} & buffers
