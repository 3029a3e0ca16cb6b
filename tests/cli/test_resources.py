"""Errors of memory and of data workers, as the libraries raise them, say what to set."""

import os
import signal
from multiprocessing import resource_sharer

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dim_lightning.cli.resources import amount_of, explained_resources, is_out_of_memory
from dim_lightning.errors import InputError


def _with(raiser, command="fit"):
    with explained_resources(command, 64, 256):
        raiser()


def _numpy():
    np.empty(1 << 55, np.uint8)


def _torch():
    torch.empty(1 << 55, dtype=torch.uint8)


def _cuda():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has")


def _cublas():
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def _cudnn():
    raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


def _cuda_runtime():
    raise RuntimeError("CUDA error: out of memory")  # of a subclass, since PyTorch 2.8


def _mps():
    raise RuntimeError(
        "MPS backend out of memory (MPS allocated: 17.05 GB, other allocations: 1.10 GB, max "
        "allowed: 18.13 GB). Tried to allocate 1.38 GB on private pool."
    )


ON_GPU = [_cuda, _cublas, _cudnn, _cuda_runtime, _mps]


@pytest.mark.parametrize("raiser", [_numpy, _torch, *ON_GPU])
def test_a_batch_that_does_not_fit(raiser):
    with pytest.raises(InputError, match=r"out of memory.*data\.batch_size 64; set .* to 32"):
        _with(raiser)
    with pytest.raises(InputError, match=r"data\.eval_batch_size 256; set .* to 128"):
        _with(raiser, "test")


def test_features_that_do_not_fit():
    """They are of all images: no batch may be too large."""
    for raiser in ON_GPU:
        with pytest.raises(InputError, match=r"features of all.*set trainer\.accelerator to cpu"):
            _with(raiser, "test")
    for raiser, command in [(_cuda, "predict"), (_numpy, "test"), (_torch, "test")]:
        with pytest.raises(InputError) as caught:
            _with(raiser, command)
        assert "accelerator" not in str(caught.value)


def test_the_amount_is_said():
    with pytest.raises(RuntimeError) as caught:
        _torch()
    assert amount_of(caught.value) == "36028797.02 GB"
    with pytest.raises(RuntimeError) as caught:
        _cuda()
    assert amount_of(caught.value) == "2.50 GiB"
    with pytest.raises(RuntimeError) as caught:
        _mps()
    assert amount_of(caught.value) == "1.38 GB"


def test_other_errors_stay_what_they_are():
    def fail():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        _with(fail)
    assert not is_out_of_memory(OSError(2, "No such file"))


class _Deadly(torch.utils.data.Dataset):
    """Whoever reads it is killed."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker():
    loader = DataLoader(_Deadly(), num_workers=1)
    with pytest.raises(InputError, match=r"(is killed|exited).*data\.num_workers"):
        _with(lambda: next(iter(loader)))


def test_a_model_that_does_not_fit(workshop, capsys):
    before = workshop.made()
    assert workshop.fit("--model.encoder.init_args.embedding_dim", "10000000000000") == 2
    assert "choose a smaller model.encoder" in capsys.readouterr().err
    assert workshop.made() == before


def test_a_data_worker_is_killed_while_it_hands_over_a_batch():
    shared = resource_sharer.DupFd(0)
    resource_sharer.stop()  # nobody answers any more
    with pytest.raises(InputError, match=r"ended while it handed over .* set data\.num_workers"):
        _with(shared.detach)
