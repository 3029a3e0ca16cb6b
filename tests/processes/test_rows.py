"""Rows of a joint batch of which the processes have different numbers."""

import pytest
import torch
from rows import AUGMENTATIONS, COUNTS, augmented, joint_rows, run_process, weights
from torch.multiprocessing import start_processes

from dim_lightning import processes
from dim_lightning.seeding import generator_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    start_processes(run_process, (str(folder),), len(COUNTS), start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(len(COUNTS))]


def codes():
    return joint_rows().double().flatten(1).mean(1)


def test_every_process_gathers_all_rows_and_knows_where_its_own_begin(each):
    for rank, mine in enumerate(each):
        torch.testing.assert_close(mine["gathered"], codes())
        assert mine["first"] == sum(COUNTS[:rank])
        assert mine["size"] == sum(COUNTS)


def test_gradients_of_all_processes_flow_back_to_the_owner(each):
    expected = (2 * codes() * weights().sum(0)).split(COUNTS)
    for mine, gradient in zip(each, expected, strict=True):
        torch.testing.assert_close(mine["gradient of gathered"], gradient)
    assert [mine["gradient of each"].item() for mine in each] == [0, 0, 6]


def test_shares_reach_the_owner_and_their_gradients_return(each):
    joint = weights() * codes()
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    for rank, mine in enumerate(each):
        torch.testing.assert_close(mine["shares"], joint[:, owner == rank])
        torch.testing.assert_close(mine["gradient of joint"], 2 * joint[rank] * (1 + owner))


def test_sums_and_means_are_those_of_all(each):
    for mine in each:
        assert mine["total"].tolist() == [3, 3]
        torch.testing.assert_close(mine["joint mean"], codes().mean())


@pytest.mark.parametrize("name", ["drawn", *AUGMENTATIONS])
def test_draws_are_those_of_one_process(name, each):
    images = joint_rows().contiguous(memory_format=torch.channels_last)
    drawn = processes.uniform(sum(COUNTS), 2, generator=generator_for(1))
    expected = {"drawn": drawn, **augmented(images)}[name]
    torch.testing.assert_close(torch.cat([mine[name] for mine in each]), expected)


def test_alone_all_draw_alike(each):
    expected = processes.uniform(4, 2, generator=generator_for(1))
    for mine in each:
        torch.testing.assert_close(mine["drawn alone"], expected)


def test_processes_that_would_start_at_different_steps_or_with_other_pictures_are_stopped(each):
    for mine in each:
        same, other, pictures = mine["refusals"]
        assert same == ""
        assert "different steps: [7, 7, 0]" in other
        assert "different pictures" in pictures
        assert "hashes 0, 0, 100000000000000;" in pictures
