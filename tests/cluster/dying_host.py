"""A job over hosts with addresses of their own, of which one dies and comes back."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hosts import Hosts, NoHostsError
from small_job import assert_equal, environment, fit

SCRIPTS = Path(__file__).parents[2] / "experiments" / "cluster"
CUT = 15  # the middle of the second epoch


@contextmanager
def connected(count):
    """So many hosts; where there can be none, the test is skipped."""
    try:
        hosts = Hosts(count)
    except NoHostsError as reason:
        pytest.skip(str(reason))
    try:
        yield hosts
    finally:
        hosts.close()


def started(hosts, host, folder, experiment, script, **variables):
    """The script on a host, as a person starts it there."""
    place = {
        "NODES": str(hosts.count),
        "NODE": str(host),
        "HEAD": hosts.address(0),
        "ADDRESS": hosts.address(host),
        "PYTHON": sys.executable,
        **variables,
    }
    command = [str(SCRIPTS / script), *fit(folder, experiment, hosts.count)]
    return hosts.start(host, command, environment(**place), folder / f"{experiment}.{host}.log")


def ended(jobs, folder):
    """The exit codes."""
    try:
        return [job.wait(timeout=600) for job in jobs]
    except subprocess.TimeoutExpired:
        raise AssertionError(logs(folder)) from None


def logs(folder):
    """The ends of what all hosts said."""
    return [path.read_text()[-3000:] for path in folder.glob("*.log")]


def train_calmly(hosts, folder):
    """Started statically, undisturbed."""
    jobs = [started(hosts, host, folder, "calm", "torchrun.sh") for host in range(hosts.count)]
    assert ended(jobs, folder) == [0] * hosts.count, logs(folder)


def train_with_a_power_cut(hosts, folder):
    """Started elastically; the last host is killed in mid-epoch and started again."""
    *others, last = range(hosts.count)
    job = {"experiment": "cut", "script": "elastic.sh", "JOB": "cut"}
    jobs = [started(hosts, host, folder, **job) for host in others]
    dying = started(hosts, last, folder, **job, POWER_CUT_AT=str(CUT))
    assert ended([dying], folder) == [-9]
    # A host that is back before the others have noticed may be turned away: it tries again.
    codes = [ended([started(hosts, last, folder, **job)], folder)]
    while codes[-1] != [0] and len(codes) < 4:
        codes.append(ended([started(hosts, last, folder, **job)], folder))
    codes.append(ended(jobs, folder))
    assert codes[-2:] == [[0], [0] * len(others)], (codes, logs(folder))
    said = (folder / "cut.0.log").read_text()
    assert "torchrun cut was started again and goes on where it was saved" in said
    assert [path.name for path in (folder / "runs" / "cut").iterdir()] == ["1"]


def check(count, folder):
    """One run of the job, and both trainings to the bit the same."""
    with connected(count) as hosts:
        train_calmly(hosts, folder)
        train_with_a_power_cut(hosts, folder)
    assert_equal(folder / "runs" / "calm" / "1", folder / "runs" / "cut" / "1")
