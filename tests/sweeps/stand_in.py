"""A program that leaves what fit leaves, in a fraction of a second, and ends as it is told to.

Its parameters: quality (the metric after the last epoch), epochs, pause (seconds an epoch), fail
(unless $MENDED is set), ends_as (its exit code).
"""

import json
import os
import sys
import time
from pathlib import Path


def main():
    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    parameters = json.loads(Path(words["--config"]).read_text("utf-8"))
    assert words["--trainer.logger"] == "null"
    parent = Path(words["--runs_dir"], words["--experiment"])
    folder = parent / str(1 + sum(path.name.isdigit() for path in parent.iterdir()))
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps(parameters))
    (folder / "gpus").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    if parameters.get("fail") and "MENDED" not in os.environ:
        sys.stdout.write("much was said before\n")
        sys.exit("error: model.local_weight is -1; expected at least 0")
    (folder / "result.json").write_text('{"fit": {"status": "running"}}')
    lines = ["epoch,step,best/x"]
    for epoch in range(parameters.get("epochs", 2)):
        lines.append(f"{epoch},{epoch},{parameters['quality'] * (epoch + 1)}")
        beside = folder / "metrics.part"  # whole or not at all, as a run's own: it may end any time
        beside.write_text("\n".join([*lines, ""]))
        beside.replace(folder / "metrics.csv")
        time.sleep(parameters.get("pause", 0))
    if "ends_as" in parameters:
        sys.exit(parameters["ends_as"])
    (folder / "result.json").write_text('{"fit": {"status": "completed"}}')


main()
