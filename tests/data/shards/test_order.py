"""Which images a process meets, and when."""

import pytest
import torch
from torch.utils.data import DataLoader

from dim_lightning.data.joint_order import Sampling
from dim_lightning.data.shards import ShardedSplit
from dim_lightning.data.shards.layout import read_layout
from dim_lightning.data.shards.store import Store

SHARD = 100 * 3 * 8 * 8  # bytes


@pytest.fixture
def split(digits):
    """The training split anew: 1,294 images in 13 shards, windows of `shards` of them."""

    def make(shards=3):
        store = Store(str(digits))
        layout = read_layout(store)
        return ShardedSplit(store, layout, layout.shards["train"], shards * SHARD)

    return make


def batches(split, processes=1, rank=0, seed=0, batch_size=50, **start):
    order = split.shuffled(Sampling(batch_size, processes, rank, **start), seed)
    loader = DataLoader(
        split, batch_size=batch_size, sampler=order, drop_last=True, collate_fn=lambda b: b
    )
    return list(loader)


@pytest.mark.parametrize("shards", [1, 3, 100])
@pytest.mark.parametrize("processes", [1, 2, 5, 20])
def test_processes_share_the_images_equally(split, processes, shards):
    made = split(shards)
    shares = [list(made.shuffled(Sampling(50, processes, rank), 0)) for rank in range(processes)]
    assert {len(share) for share in shares} == {1294 // processes}
    seen = [position for share in shares for position in share]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(1294))


def test_each_process_reads_its_own_shards(split):
    shards = []
    for rank in range(3):
        made = split()
        batches(made, 3, rank)
        order = made.shuffled(Sampling(50, 3, rank), 0)
        stretch = [p for window in order.windows() for p in window]
        assert made.reader.num_read == len(stretch) <= 6
        shards += [tuple(made._shards_of([piece.start]).tolist()) for piece in stretch]
    assert len(shards) - len(set(shards)) <= 2  # on the borders


def test_an_epoch_depends_on_seed_and_epoch_alone(split):
    made = split()
    order = made.shuffled(Sampling(50, 2, 1), 7)
    epochs = []
    for epoch in range(3):
        order.set_epoch(epoch)
        epochs.append(list(order))
    assert epochs[0] != epochs[1] != epochs[2]
    assert set(epochs[0]) != set(epochs[1])  # not always the same images for the same process
    assert list(split().shuffled(Sampling(50, 2, 1, epoch=2), 7)) == epochs[2]
    assert list(split().shuffled(Sampling(50, 2, 1), 8)) != epochs[0]
    state = torch.get_rng_state()
    list(order)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_window_mixes_its_shards(split):
    order = split(3).shuffled(Sampling(50), 0)
    (first, *_), positions = order.windows(), list(order)
    rows = sum(map(len, first))
    assert {p // 100 for p in positions[:50]} >= {piece.start // 100 for piece in first}
    assert sorted(positions[:rows]) == sorted(p for piece in first for p in piece)
    assert positions[:rows] != sorted(positions[:rows])


@pytest.mark.parametrize(("processes", "rank"), [(1, 0), (3, 1)])
@pytest.mark.parametrize("done", [0, 1, 5, 7])
def test_an_epoch_goes_on_where_it_was_left(split, processes, rank, done):
    whole = batches(split(), processes, rank, epoch=4)
    made = split()
    rest = batches(made, processes, rank, epoch=4, num_done=50 * done)
    assert len(rest) == len(whole) - done
    for one, two in zip(whole[done:], rest, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.indices, two.indices)


def test_what_was_done_is_not_read_again(split):
    made = split(2)
    rest = batches(made, epoch=1, num_done=50 * 20)
    assert len(rest) == 5
    assert made.reader.num_read <= 4  # of 13: the two windows that are left


def test_the_next_epoch_begins_at_its_beginning(split):
    made = split()
    order = made.shuffled(Sampling(50, epoch=1, num_done=500), 0)
    order.set_epoch(2)
    assert list(order) == list(split().shuffled(Sampling(50, epoch=2), 0))


def test_each_shard_is_read_once_an_epoch_and_few_are_held(split):
    made = split(2)
    order = made.shuffled(Sampling(64), 0)
    for held in map(made.__getitems__, torch.tensor(list(order)[:1280]).view(-1, 64).tolist()):
        assert len(held.indices) == 64
        assert len(made.reader._held) <= 5
    made = split(2)
    batches(made, batch_size=64)
    assert made.reader.num_read == 13


def test_a_batch_larger_than_a_window_is_served(split):
    (batch,) = batches(split(1), batch_size=1000)
    expected = split(1).pictures(batch.indices)
    assert torch.equal(batch.images, expected)
    assert len(set(batch.indices.tolist())) == 1000
