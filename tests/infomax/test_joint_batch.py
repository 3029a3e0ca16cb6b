import pytest
import torch
from joint_batch import SETTINGS, joint_images, losses_and_gradients, run_process


@pytest.fixture(scope="module")
def one_process():
    return losses_and_gradients(joint_images())


@pytest.fixture(scope="module", params=[2, 3])
def several_processes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    arguments = (request.param, str(folder))
    torch.multiprocessing.spawn(run_process, arguments, nprocs=request.param)
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_several_processes_equal_one_with_the_joint_batch(name, one_process, several_processes):
    """Every term, reported ones included, and every gradient."""
    (terms, gradients), (others, other_gradients) = one_process[name], several_processes[name]
    assert terms.keys() == others.keys()
    for key, value in terms.items():
        assert others[key].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), key
    assert gradients.keys() == other_gradients.keys()
    for key, value in gradients.items():
        torch.testing.assert_close(other_gradients[key], value, rtol=1e-6, atol=1e-9, msg=key)
