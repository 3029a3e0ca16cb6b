"""`compare`: several finished runs in one figure."""

from pathlib import Path

from dim_lightning.cli.overview import PROGRAM
from dim_lightning.cli.plain_parser import PlainParser
from dim_lightning.cli.words import as_path
from dim_lightning.run.compared import load_runs
from dim_lightning.run.comparison import write_comparison
from dim_lightning.run.folder import new_numbered_folder
from dim_lightning.run.settings import run_name
from dim_lightning.writing import explained


def compare(arguments: list[str]) -> int:
    """Draws the comparison and says where it lies.

    Raises:
        InputError: fewer than two runs, or one that is none or has not come far enough.
    """
    options = _parser().parse_args(arguments)
    runs = load_runs(options.runs)
    output = options.output or new_numbered_folder(_runs_dir(options.runs[0]) / "comparisons")
    with explained(output, "--output"):
        output.mkdir(parents=True, exist_ok=True)
        made = write_comparison(runs, output, options.against)
    lines = [made.table, *(f"warning: {warning}" for warning in made.warnings), ""]
    print("\n".join([*lines, *map(str, made.files)]))  # noqa: T201
    return 0


def _runs_dir(run: Path) -> Path:
    """The folder below which a run has its name: two above it, or more for a run of a table."""
    return run.absolute().parents[run_name(run).count("/")]


def _parser() -> PlainParser:
    parser = PlainParser(
        prog=f"{PROGRAM} compare", description="Compares finished runs in one figure."
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders")
    parser.add_argument(
        "--output",
        type=as_path,
        help="folder to write into; <runs_dir>/comparisons/<n> if left out",
    )
    parser.add_argument(
        "--against",
        choices=("epochs", "minutes"),
        default="epochs",
        help="the horizontal axis: epochs, or minutes of training without validation",
    )
    return parser
