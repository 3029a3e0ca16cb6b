"""`--help`: what there is to ask for, said without loading what does it."""

import textwrap
from collections.abc import Mapping

PROGRAM = "python -m dim_lightning"
DESCRIPTION = (
    "Deep InfoMax: learns an image encoder without labels. `fit --config FILE` trains, "
    "`fit --resume FOLDER` goes on with a run that was stopped, "
    "`validate|test|predict --run FOLDER` work on a run, `compare FOLDER FOLDER` draws several, "
    "`sweep FILE` searches settings, `table FILE` fills a table of results, `export FOLDER` writes "
    "the encoder for use elsewhere, `shard OUTPUT` converts pictures that do not fit into memory, "
    "`doctor` looks at the machine."
)
RUN_COMMANDS: Mapping[str, str] = {  # those of the Trainer, which have a configuration
    "fit": "trains an encoder, or goes on with a run that was stopped",
    "validate": "measures a run on its validation images again",
    "test": "the figures to quote: probes and neighbours on the test images",
    "predict": "writes the codes of images to a file",
}
OWN_COMMANDS: Mapping[str, str] = {
    "compare": "draws several runs in one figure",
    "sweep": "searches settings, as a sweep file of Weights & Biases says",
    "table": "runs what is missing of a table of results, and writes it",
    "export": "writes the encoder to files, some of which need none of this code",
    "shard": "converts pictures that do not fit into memory to a stream",
    "doctor": "looks at the machine and says what to do",
}
_WIDTH = 79


def overview() -> str:
    """The commands, a line each."""
    commands = {**RUN_COMMANDS, **OWN_COMMANDS}
    column = max(map(len, commands)) + 4
    lines = [f"  {name:<{column - 2}}{text}" for name, text in commands.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...",
            "",
            *textwrap.wrap(DESCRIPTION, _WIDTH),
            "",
            "commands:",
            *lines,
            "",
            f"`{PROGRAM} COMMAND --help` lists the options of a command,",
            f"`{PROGRAM} --version` says the version.",
            "",
        ]
    )
