"""Folders that can only be read: for runs, for a cache that is not there, for one that is.

    python experiments/faults/read_only.py

Needs root: the folder is mounted read-only in a mount namespace of its own.
"""

import scene

scene.in_own_mounts()
with scene.folder() as place:
    done = scene.run(scene.fit(place, "--trainer.max_epochs", "1"))
    assert done.returncode == 0, done.stderr
    for name in ("fixed", "data"):
        scene.mount(str(place / name), place / name, "--bind")
        scene.mount(str(place / name), place / name, "-o", "remount,ro,bind")
    done = scene.run(scene.fit(place, "--runs_dir", str(place / "fixed")))
    scene.judge("runs_dir is read-only", done.returncode, 2, done.stderr, "read-only", "runs_dir")
    done = scene.run(scene.fit(place, "--data.cache_dir", str(place / "fixed")))
    scene.judge("cache_dir is read-only", done.returncode, 2, done.stderr, "data.cache_dir")
    done = scene.run(scene.fit(place, "--trainer.max_epochs", "1"))
    scene.judge("a finished cache in a read-only folder", done.returncode, 0, done.stderr)
