"""encoder.json: everything about an encoder but its weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dim_lightning.encoders import Encoder
from dim_lightning.run.environment import describe_environment, now, read_environment
from dim_lightning.run.folder import CONFIG
from dim_lightning.run.own_code import OWN_CODE, own_code

FORMAT = "dim_lightning encoder"
VERSION = 1  # to be raised whenever an older `load` could not read the files rightly
INPUT = "images"

_STEPS = (
    "read a JPEG file at a half, a quarter or an eighth of its size, where both sides are still at "
    "least twice {size} (Pillow's draft(None, (2 * {size}, 2 * {size}))); others as they are",
    "turn upright as the EXIF entry says",
    "convert to RGB; 16 bits to 8; what shines through a transparent picture is white",
    "scale the centre square, whose side is the shorter side of the picture, to {size} x {size} "
    "pixels, bicubic with antialiasing: Pillow's resize(({size}, {size}), BICUBIC, (left, top, "
    "left + side, top + side)) with left = (width - side) / 2 and top = (height - side) / 2, not "
    "rounded; its filter reads across the square's edge",
    "order the values as [3, {size}, {size}], red first, uint8 from 0 to 255",
)


def described(
    encoder: Encoder,
    recipe: Any,
    image_size: int,
    figures: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """What encoder.json says of an encoder.

    Args:
        encoder: with its weights, in eval mode.
        recipe: how to make it, as in config.yaml.
        image_size: height and width of its images.
        figures: what it reached, as in result.json.
        provenance: how it was trained.
    """
    with torch.no_grad():
        layers = encoder(torch.zeros(1, 3, image_size, image_size)).layers
    return {
        "format": FORMAT,
        "version": VERSION,
        "encoder": recipe,
        "weights": "encoder.safetensors, of the module class_path(image_size, **init_args)",
        "image_size": image_size,
        "preprocessing": _preprocessing(image_size),
        "input": {"name": INPUT, "dtype": "uint8", "shape": ["n", 3, image_size, image_size]},
        "outputs": {name: ["n", *layer.shape[1:]] for name, layer in layers.items()},
        "embedding": list(layers)[-1],
        "embedding_dim": encoder.embedding_dim,
        "figures": figures,
        "provenance": provenance,
    }


def export_record(recipe: Any) -> dict[str, Any]:
    """When, with which versions and by which code of the user's own an export is made.

    Args:
        recipe: how to make the encoder.
    """
    here = describe_environment([])
    kept = {name: here[name] for name in ("python", "packages")}
    return {"time": now(), **kept, OWN_CODE: own_code({"encoder": recipe})}


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _preprocessing(size: int) -> dict[str, Any]:
    return {
        "steps": [step.format(size=size) for step in _STEPS],
        "size": size,
        "mode": "RGB",
        "resize": "bicubic, antialiased, of the centre square",
        "scale": "the programs encoder.pt2 and encoder.onnx take uint8 and divide by 255 "
        "themselves; the module that encoder.safetensors belongs to takes float32 values / 255, "
        "in [0, 1], and needs no mean or standard deviation",
    }


def provenance_of_run(
    run_dir: Path, config: Mapping[str, Any], checkpoint: Mapping[str, Any]
) -> dict[str, Any]:
    """How the encoder of a run was trained.

    Args:
        run_dir: the run's folder.
        config: of the run.
        checkpoint: the state it is taken from.
    """
    trained = read_environment(run_dir)
    return {
        "run": f"{config.get('experiment', run_dir.absolute().parent.name)}/"
        f"{run_dir.absolute().name}",
        "commit": trained.get("commit"),
        "uncommitted_changes": trained.get("uncommitted_changes"),
        "seed": config.get("seed_everything"),
        "config_sha256": digest(run_dir / CONFIG),
        "steps": checkpoint.get("global_step"),
        "trained": {name: trained.get(name) for name in ("started", "finished", "packages")},
    }
