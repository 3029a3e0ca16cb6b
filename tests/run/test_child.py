"""A command in a process of its own."""

import errno
import fcntl
import os
import socket
import sys
import time

import pytest
import torch

from dim_lightning.errors import InputError
from dim_lightning.run.child import Child, is_at_work, own_gpus


def wait(child):
    end = time.monotonic() + 60
    while child.running():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_it_says_and_how_it_ends(tmp_path):
    child = Child(tmp_path)
    said = "import sys; print('\\n'.join('abcdefg')); sys.exit(3)"
    child.start([sys.executable, "-S", "-c", said])
    wait(child)
    assert child.code == 3
    assert child.last_lines() == "c\nd\ne\nf\ng"
    assert not is_at_work(tmp_path)


def test_another_finds_it_at_work_and_ends_it(tmp_path):
    starter = Child(tmp_path, [0, 1])
    starter.start(["sleep", "60"])
    other = Child(tmp_path, [0])
    assert is_at_work(tmp_path)
    assert other.running()
    assert (other.pid, other.place) == (starter.pid, 2)
    (tmp_path / ".lock").write_text("")  # as it is until the starter has written there
    early = Child(tmp_path, [0])
    assert (early.pid, early.place) == (None, 1)
    other.end()
    wait(starter)
    assert not other.running()
    assert (starter.code, other.code) == (-15, None)
    assert starter.last_lines() == "it ended with code -15, saying nothing"


def test_one_that_does_not_listen_is_killed(tmp_path):
    child = Child(tmp_path, patience=0.0)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    child.start([sys.executable, "-S", "-c", f"{deaf}; time.sleep(60)"])
    while not (tmp_path / "output.txt").read_text():
        time.sleep(0.01)
    child.end()
    wait(child)
    assert child.code == -9


def test_a_program_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be started"):
        Child(tmp_path).start(["/nowhere/python"])
    assert not is_at_work(tmp_path)


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])  # Linux, macOS
def test_one_that_ended_by_itself_is_killed_without_an_error(tmp_path, monkeypatch, error):
    def ended(*_):
        raise error

    child = Child(tmp_path, patience=0.0)
    child.start([sys.executable, "-S", "-c", "import time; time.sleep(0.5)"])
    monkeypatch.setattr(os, "kill", ended)
    monkeypatch.setattr(os, "killpg", ended)
    child.end()
    wait(child)
    assert child.code == 0


def test_what_is_at_work_on_another_host_is_left_alone(tmp_path, monkeypatch):
    """By its number another process would be ended here."""
    child = Child(tmp_path)
    child.start([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    assert Child(tmp_path).pid == child.pid
    monkeypatch.setattr(socket, "gethostname", lambda: "node7")
    with pytest.raises(InputError, match=r"still at work on .*, and this is node7; go on there"):
        Child(tmp_path)
    child.end()
    wait(child)
    assert Child(tmp_path).pid is None


def test_a_disk_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"disk without locks \(Function not implemented\)"):
        Child(tmp_path).start(["true"])
    assert not is_at_work(tmp_path)  # so that a table still says what there is


def test_the_cores_and_gpus_that_it_may_use_are_shared(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    child = Child(tmp_path, [0])
    said = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES'])"
    child.start([sys.executable, "-S", "-c", said], at_once=2)
    wait(child)
    assert child.last_lines() == "1 2,3"


@pytest.mark.parametrize(
    ("visible", "num_gpus", "at_once", "shown"),
    [
        (None, 0, 3, [None] * 3),
        (None, 1, 3, [None] * 3),
        (None, 2, 3, ["0", "1", "0"]),
        ("5,2", 2, 2, ["5", "2"]),
        ("GPU-a, GPU-b,-1,GPU-c", 2, 2, ["GPU-a", "GPU-b"]),  # what follows -1 is not seen
        ("3", 1, 2, [None] * 2),
        (None, 4, 2, ["0,1", "2,3"]),
        (None, 8, 3, ["0,1", "2,3", "4,5"]),
    ],
)
def test_each_of_several_has_its_share_of_the_gpus(visible, num_gpus, at_once, shown):
    name = "CUDA_VISIBLE_DEVICES"
    environment = {} if visible is None else {name: visible}
    found = [own_gpus(environment, num_gpus, at_once, n).get(name) for n in range(at_once)]
    assert found == shown


def test_who_comes_next_has_the_place_of_the_one_that_ended(tmp_path):
    found = [Child(tmp_path, taken).place for taken in ([], [0, 1], [0, 2], [1])]
    assert found == [0, 2, 1, 0]
