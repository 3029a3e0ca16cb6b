"""`compile`: the encoder and the critics through torch.compile.

They are compiled in place: their parameters keep their names, so that a checkpoint of a compiled
run loads without compiling and the other way round. The rest of a step, logs and draws, is not
compiled, as Lightning's own calls there do not bear it.
"""

import os
import shutil
import sys
from typing import Literal

import torch
from torch import nn

from dim_lightning.encoders import Encoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics import Critic

Compile = Literal["default", "reduce-overhead", "max-autotune", "aot_eager"] | None
HELP = (
    "Compile encoder and critics when training: default, reduce-overhead (with CUDA graphs) or "
    "max-autotune; aot_eager only traces them, to look for errors. Worth it on a GPU; null is off."
)
_TRACED = "aot_eager"
_BY_GRAPHS = ("reduce-overhead", "max-autotune")
# type of device -> the language compiled, the variable that names its compiler, the usual ones
_COMPILERS = {
    "cpu": ("C++", "CXX", ("g++", "clang++", "c++", "cl")),
    "cuda": ("C", "CC", ("gcc", "clang")),
}
_VOLTA = (7, 0)  # compute capability


def check_compile(
    mode: Compile, device: torch.device, batches_a_step: int = 1, num_processes: int = 1
) -> None:
    """Looks, before training, at whether there is what compiles, and whether it can.

    Args:
        mode: how to compile; not at all if None.
        device: on which the model trains.
        batches_a_step: how many the gradients of a step are added up over.
        num_processes: that train together.

    Raises:
        InputError: there is no compiler for C++, which compiling for a processor needs, or for C,
            which it needs for a GPU; the GPU is too old; or it is to be compiled to CUDA graphs,
            and gradients are added up over several batches or there are several processes.
    """
    by_graphs = mode in _BY_GRAPHS and device.type != "cpu"
    if by_graphs and batches_a_step > 1:
        raise InputError(
            f"compile is {mode} and trainer.accumulate_grad_batches {batches_a_step}, but CUDA "
            "graphs write each batch's gradients over those of the one before; expected a single "
            "batch a step; take --compile default, or a larger data.batch_size instead"
        )
    if by_graphs and num_processes > 1:
        raise InputError(
            f"compile is {mode} and there are {num_processes} processes, but critics exchange rows "
            "with the others, which was never tried within CUDA graphs; expected a single process; "
            "take --compile default instead"
        )
    if mode in (None, _TRACED) or device.type not in _COMPILERS:
        return
    language, variable, usual = _COMPILERS[device.type]
    known = [os.environ[variable]] if variable in os.environ else usual
    if not any(map(shutil.which, known)):
        raise InputError(
            f"compile is {mode}, but there is no compiler for {language} on this {sys.platform}; "
            f"expected one of {', '.join(known)}; install one or name it in the variable "
            f"{variable}, or leave compile out"
        )
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < _VOLTA:
        raise InputError(
            f"compile is {mode}, but {torch.cuda.get_device_name(device)} is older than what "
            "torch.compile computes on; leave compile out"
        )


def compile_parts(model: nn.Module, mode: Compile) -> list[str]:
    """The names of the parts of `model` that are compiled from now on, when they are first used.

    Args:
        model: with an encoder, and critics if it has any.
        mode: how to compile; not at all if None.
    """
    if mode is None:
        return []
    how = {"backend": _TRACED} if mode == _TRACED else {"mode": mode}
    names = [name for name, part in model.named_modules() if isinstance(part, Encoder | Critic)]
    for name in names:
        # of another size of views, a graph for all sizes would lose the layout of convolutions
        model.get_submodule(name).compile(dynamic=False, **how)
    return names
