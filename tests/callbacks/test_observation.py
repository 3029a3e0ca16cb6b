"""Which module a callback's state is of."""

import pickle

from quiet import Watcher

from dim_lightning.callbacks.observation import LastTrained


def test_another_process_knows_of_no_module():
    last, module = LastTrained(), Watcher()
    assert not last.changes_to(module)
    assert not last.changes_to(module)
    assert not pickle.loads(pickle.dumps(last)).changes_to(Watcher())
    assert last.changes_to(Watcher())
