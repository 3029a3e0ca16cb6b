"""The order of the images: what a joint batch consists of, and who has which of its rows."""

from itertools import chain, combinations

import pytest
from torch.utils.data import DataLoader, Dataset

from dim_lightning.data.joint_order import JointOrder, Sampling

COUNT, JOINT_BATCH = 101, 24


class Numbers(Dataset):
    """As many images as there are numbers."""

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return index


def joint_batches(processes, seed, epoch=0):
    """The joint batches, put together from the batches of the processes' loaders."""
    batch_size = JOINT_BATCH // processes
    parts = []
    for rank in range(processes):
        order = JointOrder(Numbers(), Sampling(batch_size, processes, rank), seed)
        order.set_epoch(epoch)
        parts.append([batch.tolist() for batch in DataLoader(Numbers(), batch_size, sampler=order)])
        assert len(order) == sum(map(len, parts[-1]))
    return [list(chain(*batches)) for batches in zip(*parts, strict=True)]


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("seed", [None, 5])
def test_joint_batches_do_not_depend_on_the_number_of_processes(processes, seed):
    assert joint_batches(processes, seed) == joint_batches(1, seed)


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_evaluation_sees_every_image_once_and_in_order(processes):
    batches = joint_batches(processes, None)
    assert list(chain(*batches)) == list(range(COUNT))
    assert [len(batch) for batch in batches] == [24, 24, 24, 24, 5]


def test_training_sees_full_batches_anew_in_each_epoch():
    first, second = joint_batches(2, 5, epoch=0), joint_batches(2, 5, epoch=1)
    assert [len(batch) for batch in first] == [24] * 4
    assert len(set(chain(*first))) == 4 * 24
    assert sorted(first[0]) != sorted(second[0])


def test_an_order_is_of_its_seed_and_its_epoch_alone():
    orders = [joint_batches(1, seed, epoch) for seed in (5, 6) for epoch in (0, 1)]
    assert joint_batches(1, 5, 0) == orders[0]
    assert all(one != other for one, other in combinations(orders, 2))


def test_an_epoch_that_goes_on_begins_where_it_was_left():
    whole = JointOrder(Numbers(), Sampling(4, 2, 1), 5)
    resumed = JointOrder(Numbers(), Sampling(4, 2, 1, epoch=3, num_done=8), 5)
    whole.set_epoch(3)
    assert list(resumed) == list(whole)[8:]
    assert len(resumed) == len(whole)
    for order in (whole, resumed):
        order.set_epoch(4)
    assert list(resumed) == list(whole)
