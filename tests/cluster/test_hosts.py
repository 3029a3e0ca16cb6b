"""Hosts with addresses of their own: torchrun starts a job over them, one dies, the job goes on."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hosts import Hosts, NoHostsError
from small_job import environment, fit, rows, trained

SCRIPTS = Path(__file__).parents[2] / "experiments" / "cluster"
CUT = 15  # the middle of the second epoch


@pytest.fixture(params=[2, 3])
def hosts(request):
    try:
        hosts = Hosts(request.param)
    except NoHostsError as reason:
        pytest.skip(str(reason))
    yield hosts
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
    try:
        return [job.wait(timeout=1800) for job in jobs]
    except subprocess.TimeoutExpired:
        raise AssertionError([path.read_text()[-2000:] for path in folder.glob("*.log")]) from None


@pytest.mark.slow
def test_a_host_dies_and_the_job_ends_as_if_none_had(hosts, tmp_path):
    every = range(hosts.count)
    jobs = [started(hosts, host, tmp_path, "calm", "torchrun.sh") for host in every]
    assert ended(jobs, tmp_path) == [0] * hosts.count
    *others, last = every
    jobs = [started(hosts, host, tmp_path, "cut", "elastic.sh", JOB="cut") for host in others]
    dying = started(hosts, last, tmp_path, "cut", "elastic.sh", JOB="cut", POWER_CUT_AT=str(CUT))
    assert ended([dying], tmp_path) == [-9]
    jobs.append(started(hosts, last, tmp_path, "cut", "elastic.sh", JOB="cut"))
    assert ended(jobs, tmp_path) == [0] * hosts.count

    said = (tmp_path / "cut.0.log").read_text()
    assert "torchrun cut was started again and goes on where it was saved" in said
    assert [path.name for path in (tmp_path / "runs" / "cut").iterdir()] == ["1"]
    calm, cut = (tmp_path / "runs" / name / "1" for name in ("calm", "cut"))
    assert rows(cut) == rows(calm)
    weights, others = trained(calm), trained(cut)
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        assert torch.equal(others[name], tensor), name
