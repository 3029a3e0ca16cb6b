"""A batch that needs more memory than there is, in training and in testing.

python experiments/faults/out_of_memory.py
"""

import resource
import sys

import scene

MOST = 7 << 30  # bytes of addresses: PyTorch alone takes about four


def limit() -> None:
    """Called in the child."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))


if sys.platform != "linux":
    scene.skip("a limit of memory works on Linux")
with scene.folder() as place:
    large = ["--data.image_size", "96", "--model.encoder.init_args.widths", "[128,128]"]
    large += ["--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1"]
    large += ["--neighbours.bank_size", "32", "--geometry.num_images", "32"]
    done = scene.run(scene.fit(place, *large, "--data.batch_size", "1200"), limit)
    text = done.stderr
    scene.judge("a batch too large", done.returncode, 2, text, "out of memory", "data.batch_size")
    done = scene.run(scene.fit(place, *large, "--data.batch_size", "16"), limit)
    scene.judge("a batch that fits", done.returncode, 0, done.stderr)
    huge = ["--model.encoder.init_args.embedding_dim", "200000"]
    done = scene.run(scene.fit(place, *huge), limit)
    scene.judge("a model too large", done.returncode, 2, done.stderr, "out of memory", "encoder")
