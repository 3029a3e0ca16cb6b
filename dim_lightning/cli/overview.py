"""`--help`: what there is to ask for, said without loading what does it."""

from collections.abc import Mapping

PROGRAM = "python -m dim_lightning"
RUN_COMMANDS: Mapping[str, str] = {  # those of the Trainer, which have a configuration
    "fit": "trains (--config FILE), or goes on with a run (--resume FOLDER)",
    "validate": "measures a run on its validation images again (--run FOLDER)",
    "test": "a run's figures to quote, on the test images (--run FOLDER)",
    "predict": "writes a run's codes of images to a file (--run FOLDER)",
}
OWN_COMMANDS: Mapping[str, str] = {
    "compare": "draws several runs in one figure",
    "sweep": "searches settings, as a sweep file of Weights & Biases says",
    "table": "runs what is missing of a table of results, and writes it",
    "export": "writes the encoder to files, some of which need none of this code",
    "shard": "converts pictures that do not fit into memory to a stream",
    "doctor": "looks at the machine and says what to do",
}


def overview() -> str:
    """The commands, a line each."""
    commands = {**RUN_COMMANDS, **OWN_COMMANDS}
    column = max(map(len, commands)) + 4
    lines = [f"  {name:<{column - 2}}{text}" for name, text in commands.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...",
            "",
            "Deep InfoMax: learns an image encoder without labels.",
            "",
            "commands:",
            *lines,
            "",
            f"`{PROGRAM} COMMAND --help` lists the options of a command,",
            f"`{PROGRAM} --version` says the version.",
            "",
        ]
    )
