"""What is optional: the packages of each extra, and the command that installs them."""

import shlex
from collections.abc import Mapping

EXTRAS: Mapping[str, tuple[str, ...]] = {  # those of pyproject.toml
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "stream": ("fsspec[gs,http,s3]", "huggingface-hub"),
    "sweep": ("optuna>=5",),
    "wandb": ("wandb",),
}


def installation(extra: str) -> str:
    """The command that installs an extra.

    It names the packages: so it is right wherever this package came from, and if it is run from
    its folder without being installed.

    Args:
        extra: its name, such as `wandb`.
    """
    return f"python -m pip install {shlex.join(EXTRAS[extra])}"
