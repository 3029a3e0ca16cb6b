import pytest
import torch
from joint_codes import joint_codes, values_and_gradients, work
from torch.multiprocessing import start_processes

from dim_lightning.processes import total


def test_one_process_keeps_what_it_has():
    x = torch.randn(3)
    assert total(x) is x


@pytest.mark.slow
def test_two_processes_have_the_statistics_of_the_joint_batch(tmp_path):
    start_processes(work, (tmp_path,), 2, start_method="forkserver")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    statistic, of_statistic, normalized, of_normalized = values_and_gradients(joint_codes(), 0)
    for one in (first, second):
        torch.testing.assert_close(one[0], statistic)
    # Each of the two has the loss of the joint batch, and training takes the mean of the gradients
    torch.testing.assert_close(torch.cat([first[1], second[1]]) / 2, of_statistic)
    torch.testing.assert_close(torch.cat([first[2], second[2]]), normalized)
    torch.testing.assert_close(torch.cat([first[3], second[3]]), of_normalized)
