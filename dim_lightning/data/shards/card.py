"""The page in a folder of shards: for people, and for the `datasets` library."""

from dim_lightning.data.shards.layout import Layout

CARD = "README.md"
_NAMES = {"train": "train", "val": "validation", "test": "test"}


def card(layout: Layout) -> str:
    """A dataset card, whose head names the files of each split."""
    files = "".join(
        f"  - split: {name}\n    path: {split}-*.parquet\n" for split, name in _NAMES.items()
    )
    counts = ", ".join(
        f"{sum(shard.rows for shard in layout.shards[split]):,} {name}"
        for split, name in _NAMES.items()
    )
    size = layout.image_size
    classes = ", ".join(layout.class_names) if layout.class_names else "unlabelled"
    return f"""---
configs:
- config_name: default
  data_files:
{files}---

# {layout.name}, {size} x {size}

From {layout.origin}: {counts}. Written by `python -m dim_lightning shard`, read by
`--data.source Stream --data.source.path FOLDER` or by
`datasets.load_dataset(FOLDER)`.

| column | |
|---|---|
| `pixels` | RGB, `numpy.frombuffer(pixels, "uint8").reshape({size}, {size}, 3)` |
| `label` | the class, from 0; -1 where unlabelled |
| `path` | of the file it was; null where it was none |
| `row` | in the part of the source it comes from |

The training images are in a random order. Classes: {classes}.
"""
