"""A process that fetches data is killed in the middle of an epoch.

python experiments/faults/killed_worker.py
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import scene

if not Path("/proc").is_dir():
    scene.skip("the workers are found in /proc (Linux)")
with scene.folder() as place:
    words = ["--data.num_workers", "2", "--trainer.max_epochs", "2000"]
    words += ["--trainer.limit_train_batches", "20"]
    process = subprocess.Popen(
        scene.command(place, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=scene.environment(),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            break
    time.sleep(0.5)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    if not workers:
        sys.exit(f"FAILED: no workers; {process.communicate()}")
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, error = process.communicate(timeout=600)
    scene.judge("a data worker is killed", process.returncode, 2, error, "data.num_workers")
