"""The folder of an exported encoder: written whole or not at all, and read back."""

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from safetensors import SafetensorError

from dim_lightning.encoder_module import EncoderModule
from dim_lightning.errors import InputError, check_list
from dim_lightning.export.description import FORMAT, VERSION, digest, export_record
from dim_lightning.export.picture_encoder import PictureEncoder
from dim_lightning.export.programs import (
    captured,
    check_equal,
    missing_libraries,
    write_onnx,
    write_torch,
)
from dim_lightning.export.rebuild import encoder_from, load_weights, of_module, of_run
from dim_lightning.extras import installation
from dim_lightning.run.folder import CONFIG
from dim_lightning.run.own_code import OWN_CODE, changed_code, own_code, said_of_change
from dim_lightning.writing import explained, make_readable

DESCRIPTION = "encoder.json"
WEIGHTS = "encoder.safetensors"
# where PyTorch puts the weights of a program above 1.5 GB, which its format cannot hold
_BESIDE = ("encoder.onnx.data",)
FILES = {"safetensors": WEIGHTS, "torch": "encoder.pt2", "onnx": "encoder.onnx"}
EXPORT = "export"


class Exported(NamedTuple):
    """What was written.

    Attributes:
        folder: where it lies.
        differences: file -> its largest difference from the encoder, for random images.
        left_out: file -> why it was not written.
    """

    folder: Path
    differences: dict[str, float]
    left_out: dict[str, str]


def export_run(
    run_dir: Path,
    output: Path | None = None,
    formats: Sequence[str] | None = None,
    checkpoint: Path | None = None,
) -> Exported:
    """Writes the encoder of a run's last checkpoint, or of another, for use without this package.

    Every file is read back and compared with the encoder before it is put in place; an earlier
    export in the folder is replaced as a whole, other files in it stay.

    Args:
        run_dir: the run's folder.
        output: the folder to write into; export/ in the run's folder if None.
        formats: of safetensors, torch, onnx; all whose libraries are there if None. The weights
            are always written.
        checkpoint: a file in the run's folder; the last one if None.

    Raises:
        InputError: no such run, no checkpoint of its own, an unknown format or a missing library,
            a folder that cannot be written, or a file that does not compute what it does.
    """
    chosen = _chosen(formats, "--format")
    output = run_dir / EXPORT if output is None else output
    return _exported(of_run(run_dir, checkpoint), output, "--output", *chosen)


def export_encoder(
    module: EncoderModule, output: str | Path, formats: Sequence[str] | None = None
) -> Exported:
    """Writes the encoder that a method has at present, as `export_run` does that of a run.

    Args:
        module: the method, such as a DeepInfoMax that a script has trained.
        output: the folder to write into.
        formats: see `export_run`.

    Raises:
        InputError: see `export_run`; or the encoder was made by what no file can name, such as a
            lambda or a class of the script itself.
    """
    chosen = _chosen(formats, "formats")
    return _exported(of_module(module), Path(output).expanduser(), "output", *chosen)


def load(path: str | Path, checkpoint: str | Path | None = None) -> PictureEncoder:
    """The encoder in a folder that `export` wrote, or of a run's last checkpoint; on the CPU.

    `load(PATH)(pictures)` are embeddings [n, d]; see `PictureEncoder`. The module that encoder.json
    or config.yaml names for the encoder is imported: load folders of people you trust.

    Args:
        path: the folder of an export or of a run.
        checkpoint: another one of the run, such as a file in checkpoints/kept.

    Raises:
        InputError: it is neither; a checkpoint is asked of an export, or one that is not the run's;
            its files are damaged; or its encoder's class is not here.
    """
    path = Path(path).expanduser()
    if (path / DESCRIPTION).is_file():
        if checkpoint is not None:
            raise InputError(
                f"{path} is an export, which has one state; expected the folder of a run with "
                "checkpoint; leave that out"
            )
        return _load_export(path)
    if (path / CONFIG).is_file():
        return of_run(path, None if checkpoint is None else Path(checkpoint).expanduser())
    found = "holds neither" if path.is_dir() else "is no folder with"
    raise InputError(
        f"{path} {found} {DESCRIPTION} nor {CONFIG}; expected the folder of a run, such as "
        f"runs/digits/1, or one that `python -m dim_lightning export` wrote"
    )


def _chosen(formats: Sequence[str] | None, setting: str) -> tuple[list[str], dict[str, str]]:
    """The formats to write, and the files that are left out with the reason."""
    missing = missing_libraries()
    if formats is None:
        reason = f"needs {', '.join(missing)}: {installation('export')}"
        left_out = {FILES["onnx"]: reason} if missing else {}
        return [name for name in FILES if FILES[name] not in left_out], left_out
    check_list(setting, formats)
    unknown = [name for name in formats if name not in FILES]
    if unknown:
        raise InputError(f"{setting} has {unknown[0]!r}; expected some of {','.join(FILES)}")
    if "onnx" in formats and missing:
        raise InputError(
            f"the format onnx needs {', '.join(missing)}, which are not installed; "
            f"{installation('export')}"
        )
    return list(dict.fromkeys(["safetensors", *formats])), {}


def _exported(
    pictures: PictureEncoder,
    output: Path,
    setting: str,
    formats: list[str],
    left_out: dict[str, str],
) -> Exported:
    with explained(output, setting), _unfinished(output) as folder:
        differences = _write(folder, pictures, formats)
        _put_in_place(folder, output)
    return Exported(output, differences, left_out)


def _write(folder: Path, pictures: PictureEncoder, formats: list[str]) -> dict[str, float]:
    """Writes the files into `folder`; how far each is from the encoder."""
    encoder, size, about = pictures.encoder, pictures.image_size, pictures.about
    # the format knows no memory layouts: plain ones
    # nor weights that two parts share: each has its own
    weights = {name: tensor.contiguous().clone() for name, tensor in encoder.state_dict().items()}
    safetensors.torch.save_file(weights, folder / WEIGHTS)
    programs = {}
    if set(formats) & {"torch", "onnx"}:
        graph = captured(encoder, size)
        if "torch" in formats:
            programs[FILES["torch"]] = write_torch(graph, folder / FILES["torch"])
        if "onnx" in formats:
            names = list(about["outputs"])
            programs[FILES["onnx"]] = write_onnx(encoder, graph, names, folder / FILES["onnx"])
    files = {path.name: _fingerprint(path) for path in sorted(folder.iterdir())}
    record = export_record(about["encoder"])
    text = json.dumps({**about, "exported": record, "files": files}, indent=2) + "\n"
    (folder / DESCRIPTION).write_text(text, "utf-8")
    programs = {WEIGHTS: _load_export(folder).layers, **programs}
    return {
        name: check_equal(program, pictures.layers, encoder, size, name)
        for name, program in programs.items()
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest(path)}


@contextmanager
def _unfinished(output: Path) -> Iterator[Path]:
    """A folder inside `output` to write into; nothing of it stays."""
    is_new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=output, prefix=f".{EXPORT}.") as folder:
            yield Path(folder)
    finally:
        if is_new:
            with suppress(OSError):  # it is in use
                output.rmdir()


def _put_in_place(folder: Path, output: Path) -> None:
    """Moves the files over those of an earlier export, of which none stays.

    The description goes first and comes last: without it the folder is no export, so that a crash
    in between leaves nothing that could be loaded.
    """
    (output / DESCRIPTION).unlink(missing_ok=True)
    for name in (*FILES.values(), *_BESIDE):
        (output / name).unlink(missing_ok=True)
        if (folder / name).exists():
            make_readable(folder / name)  # safetensors writes 0600
            (folder / name).replace(output / name)
    (folder / DESCRIPTION).replace(output / DESCRIPTION)


def _load_export(folder: Path) -> PictureEncoder:
    about, weights = _description(folder / DESCRIPTION), folder / WEIGHTS
    if not weights.is_file() or digest(weights) != about["files"][WEIGHTS]["sha256"]:
        state = "is another file than" if weights.is_file() else "is missing, which is"
        raise InputError(
            f"{weights} {state} the one {DESCRIPTION} tells of; expected both as `export` wrote "
            "them; copy or export them again"
        )
    where = f"{folder / DESCRIPTION}, encoder"
    encoder = encoder_from(about["encoder"], about["image_size"], where)
    exported = about.get("exported", {}).get(OWN_CODE, {})  # which early exports have not
    for name in changed_code([exported, own_code({"encoder": about["encoder"]})]):
        warnings.warn(said_of_change(name, folder, "exported"), stacklevel=3)
    try:
        tensors = safetensors.torch.load_file(weights)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{weights} cannot be read ({error}); expected what `export` wrote; export it again"
        ) from error
    load_weights(encoder, tensors, weights)
    return PictureEncoder(encoder, about["image_size"], about)


def _description(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no description of an encoder; export it again") from error
    _check_types(about, {"format": [str], "version": [int]}, path)
    kind, version = about["format"], about["version"]
    if kind != FORMAT or version > VERSION:
        raise InputError(
            f"{path} is {kind!r} version {version}; expected {FORMAT!r} up to version {VERSION}; "
            "a newer dim_lightning may read it"
        )
    types: dict[str, list[type]] = {
        "encoder": [str, dict],
        "image_size": [int],
        "outputs": [dict],
        "files": [dict],
    }
    _check_types(about, types, path)
    _check_types(about["files"].get(WEIGHTS), {"sha256": [str]}, path)
    return about


def _check_types(found: Any, types: Mapping[str, Sequence[type]], path: Path) -> None:
    """Looks whether `found` is a mapping with these keys of these types."""
    for name, expected in types.items():
        value = found.get(name) if isinstance(found, dict) else None
        if type(value) not in expected:
            raise InputError(
                f"{path} is no description of an encoder: {name} is {value!r}; export it again"
            )
