"""`export`: the encoder of a run as files for people who have none of this code."""

from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.plain_parser import PlainParser
from dim_lightning.cli.words import as_path
from dim_lightning.export import Exported, export_run
from dim_lightning.export.programs import BATCH_SIZES


def export(arguments: list[str]) -> int:
    """Exports and says what lies where.

    Raises:
        InputError: see `export_run`.
    """
    options = _parser().parse_args(arguments)
    made = export_run(options.run, options.output, options.format, options.ckpt_path)
    print(_closing(made))  # noqa: T201
    return 0


def _parser() -> PlainParser:
    parser = PlainParser(
        prog=f"{PROGRAM} export",
        description="Writes the encoder of a run for use without this package: weights "
        "(encoder.safetensors, encoder.json), a torch.export program (encoder.pt2) and ONNX "
        "(encoder.onnx).",
    )
    parser.add_argument("run", type=as_path, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "--output", type=as_path, metavar="DIR", help="folder to write into; RUN/export if left out"
    )
    parser.add_argument(
        "--format",
        type=lambda text: text.split(","),
        metavar="LIST",
        help="of safetensors,torch,onnx; all whose libraries are installed if left out",
    )
    parser.add_argument(
        "--ckpt_path",
        type=as_path,
        metavar="FILE",
        help="a checkpoint in RUN, such as one in checkpoints/kept; the last one if left out",
    )
    return parser


def _closing(made: Exported) -> str:
    """What was written, how near it is to the encoder, and how to use it."""
    sizes = ", ".join(map(str, BATCH_SIZES))
    lines = [
        f"{made.folder / name}: {_equal(difference)}, batches of {sizes}"
        for name, difference in made.differences.items()
    ]
    lines += [f"{name} left out: {reason}" for name, reason in made.left_out.items()]
    use = f"dim_lightning.load({str(made.folder)!r})"
    return "\n".join([str(made.folder / "encoder.json"), *lines, "", f"in Python  {use}"])


def _equal(difference: float) -> str:
    return f"equal to the encoder{f' up to {difference:.0e}' if difference else ' to the bit'}"
