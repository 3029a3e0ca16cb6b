import pytest
import torch
from joint_batch import (
    NUM_UNEVEN,
    SETTINGS,
    joint_images,
    losses_and_gradients,
    run_process,
    terms_without_gradient,
)
from torch.multiprocessing import start_processes


@pytest.fixture(scope="module")
def one_process():
    uneven = joint_images()[:NUM_UNEVEN]
    return losses_and_gradients(joint_images()), terms_without_gradient(uneven)


@pytest.fixture(scope="module", params=[2, 3])
def several_processes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    arguments = (request.param, str(folder))
    start_processes(run_process, arguments, request.param, start_method="forkserver")
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_several_processes_equal_one_with_the_joint_batch(name, one_process, several_processes):
    """Every term, reported ones included, and every gradient."""
    terms, gradients = one_process[0][name]
    others, other_gradients = several_processes[0][name]
    assert terms.keys() == others.keys()
    for key, value in terms.items():
        assert others[key].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), key
    assert gradients.keys() == other_gradients.keys()
    for key, value in gradients.items():
        torch.testing.assert_close(other_gradients[key], value, rtol=1e-6, atol=1e-9, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_so_do_the_terms_of_a_batch_that_cannot_be_divided(name, one_process, several_processes):
    """The last batch of an evaluation."""
    terms, others = one_process[1][name], several_processes[1][name]
    assert terms.keys() == others.keys()
    for key, value in terms.items():
        assert others[key].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-12), key
