"""A process that fetches data is killed in the middle of an epoch.

python experiments/faults/killed_worker.py
"""

import os
import signal
import sys
import time
from pathlib import Path

import scene

if not Path("/proc").is_dir():
    scene.skip("the workers are found in /proc (Linux)")
with scene.folder() as place:
    words = ["--data.num_workers", "2", "--trainer.max_epochs", "2000"]
    words += ["--trainer.limit_train_batches", "20"]
    process = scene.Started(scene.fit(place, *words))
    for line in process.lines():
        if line.startswith("epoch 2/"):
            break
    time.sleep(0.5)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    if not workers:
        sys.exit(f"FAILED: no workers; {process.ended()}")
    os.kill(int(workers[-1]), signal.SIGKILL)
    done = process.ended()
    scene.judge("a data worker is killed", done.returncode, 2, done.stderr, "data.num_workers")
