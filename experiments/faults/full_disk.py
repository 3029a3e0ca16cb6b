"""The disk is full: from the start, when the first checkpoint is written, and under the cache.

    python experiments/faults/full_disk.py

Needs root: a disk of a few megabytes is mounted in a mount namespace of its own.
"""

from contextlib import suppress

import scene

scene.in_own_mounts()
with scene.folder() as place:
    small = place / "small"
    scene.mount("tmpfs", small, "-t", "tmpfs", "-o", "size=64k")
    done = scene.run(scene.fit(place, "--runs_dir", str(small / "runs")))
    scene.judge("full before training", done.returncode, 2, done.stderr, "disk is full")
    made = list((small / "runs").glob("*/*/checkpoints/*.ckpt"))
    assert not made, made

    later = place / "later"
    scene.mount("tmpfs", later, "-t", "tmpfs", "-o", "size=40m")
    words = ["--runs_dir", str(later / "runs"), "--trainer.max_epochs", "1"]
    done = scene.run(scene.fit(place, *words))
    assert done.returncode == 0, done.stderr
    first = later / "runs" / "fault" / "1"
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    with (later / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    (later / "filler").open("r+b").truncate((later / "filler").stat().st_size - (1 << 20))
    done = scene.run(scene.fit(place, "--runs_dir", str(later / "runs")))
    scene.judge("full at a checkpoint", done.returncode, 2, done.stderr, "disk is full", "runs_dir")
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert not changed, changed
    print("the earlier run is whole")

    cache = place / "cache"
    scene.mount("tmpfs", cache, "-t", "tmpfs", "-o", "size=256k")
    done = scene.run(scene.fit(place, "--data.cache_dir", str(cache)))
    scene.judge("full under the cache", done.returncode, 2, done.stderr, "data.cache_dir")
    assert not list(cache.glob("*/meta.json"))
