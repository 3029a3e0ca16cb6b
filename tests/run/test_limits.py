"""What this process may use of the machine."""

import os

import pytest

from dim_lightning.run import limits
from dim_lightning.run.limits import available_memory, quotas, usable_cores


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """The folder of a cgroup of version 2 that this process is in."""
    monkeypatch.setattr(limits, "_cgroups", lambda kind: iter(() if kind else [tmp_path]))
    return tmp_path


def test_quotas_of_both_versions(tmp_path):
    assert list(quotas([tmp_path], [tmp_path])) == []
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert list(quotas([tmp_path], [])) == []
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert list(quotas([tmp_path], [tmp_path])) == [0.5, 1.5]
    assert 0 < usable_cores() <= (os.cpu_count() or 1)


def test_a_quota_of_the_cgroup_bounds_the_cores(cgroup, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_cores() == 8
    (cgroup / "cpu.max").write_text("150000 100000\n")
    assert usable_cores() == 1.5


def test_a_limit_of_the_cgroup_bounds_the_memory(cgroup):
    free = available_memory()
    if free is None:
        pytest.skip("the system does not say how much memory is free")
    assert free > 2000
    (cgroup / "memory.current").write_text("1000\n")
    for limit, left in (("3000", 2000), ("500", 0)):
        (cgroup / "memory.max").write_text(f"{limit}\n")
        assert available_memory() == left
    (cgroup / "memory.max").write_text("max\n")
    assert available_memory() > 2000


def test_a_limit_of_a_cgroup_in_between_counts(tmp_path, monkeypatch):
    """As of a job whose task has none of its own."""
    own = tmp_path / "proc" / "cgroup"
    task = tmp_path / "sys" / "job" / "user" / "task"
    task.mkdir(parents=True)
    own.parent.mkdir()
    own.write_text("0::/job/user/task\n1:cpu,memory:/job\n")
    monkeypatch.setattr(limits, "_CGROUP", tmp_path / "sys")
    monkeypatch.setattr(limits, "_OWN", own)
    above = [task, *task.parents[:3]]
    assert above[-1] == tmp_path / "sys"
    assert list(limits._cgroups("")) == above
    assert list(limits._cgroups("cpu")) == [tmp_path / "sys" / "cpu" / "job", tmp_path / "sys/cpu"]
    (task.parent / "cpu.max").write_text("25000 100000\n")
    assert usable_cores() == 0.25
