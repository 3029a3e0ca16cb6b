"""An epoch that is gone on with skips what was done, without fetching it."""

from torch.utils.data import DataLoader

from dim_lightning.data.order import EpochOrder


class Fetched:
    """Remembers which images were asked for."""

    def __init__(self, count):
        self.seen = []
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.seen.append(index)
        return index


def orders(processes, epoch=0, num_done=0):
    images = Fetched(23)
    return [EpochOrder(images, processes, r, 7, epoch, num_done) for r in range(processes)]


def test_the_rest_of_an_epoch_is_what_was_left():
    for whole, rest in zip(orders(2, 3), orders(2, 3, 4), strict=True):
        assert list(rest) == list(whole)[4:]
        assert len(rest) == len(whole) == 11


def test_the_next_epoch_is_whole():
    (rest,) = orders(1, 3, 4)
    (whole,) = orders(1, 4)
    rest.set_epoch(4)
    assert list(rest) == list(whole)


def test_the_epoch_is_known_before_anybody_tells_it():
    (first,), (later,) = orders(1, 0), orders(1, 2)
    assert list(first) != list(later)
    first.set_epoch(2)
    assert list(first) == list(later)


def test_what_was_done_is_not_fetched():
    (rest,) = orders(1, 1, 20)
    batches = list(DataLoader(rest.dataset, batch_size=1, sampler=rest, collate_fn=tuple))
    assert len(batches) == len(rest.dataset.seen) == 3
