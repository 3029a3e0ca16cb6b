"""`compile`: the encoder and the critics through torch.compile.

They are compiled in place: their parameters keep their names, so that a checkpoint of a compiled
run loads without compiling and the other way round. The rest of a step, logs and draws, is not
compiled, as Lightning's own calls there do not bear it.
"""

import os
import shutil
import sys
from typing import Literal

from torch import nn

from dim_lightning.encoders import Encoder
from dim_lightning.errors import InputError
from dim_lightning.infomax.critics import Critic

Compile = Literal["default", "reduce-overhead", "max-autotune", "aot_eager"] | None
HELP = (
    "Compile encoder and critics when training: default, reduce-overhead (with CUDA graphs) or "
    "max-autotune; aot_eager traces them only, to look for errors. Pays on a GPU; not if null."
)
_TRACED = "aot_eager"
_COMPILERS = ("g++", "clang++", "c++", "cl")


def check_compile(mode: Compile, on_cpu: bool) -> None:
    """Looks, before training, at whether there is what compiles.

    Args:
        mode: how to compile; not at all if None.
        on_cpu: whether the model trains on a processor.

    Raises:
        InputError: it is to be compiled for a processor, and there is no compiler for C++.
    """
    if mode in (None, _TRACED) or not on_cpu:
        return
    known = [os.environ["CXX"]] if "CXX" in os.environ else _COMPILERS
    if not any(map(shutil.which, known)):
        raise InputError(
            f"compile is {mode}, but there is no compiler for C++ on this {sys.platform}; expected "
            f"one of {', '.join(known)}; install one or name it in the variable CXX, "
            "or leave compile out"
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
        model.get_submodule(name).compile(**how)
    return names
