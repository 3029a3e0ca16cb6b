import pytest
import torch
from joint_baselines import losses_and_gradients, run_process
from small_methods import BASELINES
from torch.multiprocessing import start_processes


@pytest.fixture(scope="module")
def one_process():
    return losses_and_gradients()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    start_processes(run_process, (2, str(folder)), 2, start_method="forkserver")
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES)
def test_two_processes_equal_one_with_the_joint_batch(method, one_process, two_processes):
    """Every term and every gradient; for NAT also who has which target afterwards."""
    name = method.__name__
    (terms, gradients), (others, other_gradients) = one_process[name], two_processes[name]
    assert terms.keys() == others.keys()
    for key, value in terms.items():
        torch.testing.assert_close(others[key], value, rtol=1e-9, atol=1e-12, msg=key)
    assert gradients.keys() == other_gradients.keys()
    for key, value in gradients.items():
        torch.testing.assert_close(other_gradients[key], value, rtol=1e-6, atol=1e-9, msg=key)
