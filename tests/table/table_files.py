"""A table file, and folders of runs as fit and test leave them."""

import json

import yaml

CONTENT = {
    "title": "Small",
    "overrides": {"trainer.max_epochs": 4},
    "columns": {"probe/mlp200/y/top1": "Y", "knn/cosine/k20_t0.07/y/top1": "kNN Y"},
    "rows": [
        {"name": "DIM(L) JSD", "config": "dim.yaml", "seeds": [0, 1], "paper": {"Y": 66.96}},
        {"name": "VAE", "config": "vae.yaml", "paper": {"Y": 54.61}, "from_memory": True},
        {"name": "random encoder", "floor": "random"},
        {"name": "raw pixels", "floor": "pixels"},
    ],
}
SETTINGS = {
    "seed_everything": 0,
    "trainer.max_epochs": 4,
    "trainer.accelerator": "auto",
    "data.root": "data",
    "model.lr": 0.1,
    "evaluation.mlp_epochs": 30,
    "experiment": "x",
    "probe.learning_rate": 0.01,
}


def write_table(folder, **changes):
    """The file, beside the configs that it names."""
    for name in ("dim", "vae"):
        (folder / f"{name}.yaml").write_text("trainer: {}\n")
    path = folder / "small.yaml"
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def note_tested(cell, run):
    """With which settings of the evaluation its figures were found."""
    result = json.loads((run / "result.json").read_text())
    prefix = "evaluation."
    result["test"]["settings"] = {
        key.removeprefix(prefix): value
        for key, value in cell.settings.items()
        if key.startswith(prefix)
    }
    (run / "result.json").write_text(json.dumps(result))


def write_run(
    cell, number=1, status="completed", epochs=4, figures=None, environment=None, **settings
):
    """A run of the cell, trained for some epochs and, with figures, tested."""
    run = cell.folder / str(number)
    (run / "checkpoints").mkdir(parents=True)
    nested = {}
    for key, value in {**cell.settings, **settings}.items():
        *groups, name = key.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    (run / "config.yaml").write_text(yaml.safe_dump(nested))
    fit = {"status": status, "epochs": epochs, "seconds": 60.0 * epochs, "reason": "no more luck"}
    result = {"fit": fit}
    if figures is not None:
        result["test"] = {"epochs_trained": epochs, "protocol": "Frozen features.", **figures}
    (run / "result.json").write_text(json.dumps(result))
    rows = "".join(f"{epoch},{epoch + 1},9.0\n" for epoch in range(epochs))
    (run / "metrics.csv").write_text("epoch,step,speed/images_per_second\n" + rows)
    commit = {"commit": "0123456789abcdef", "uncommitted_changes": False}
    (run / "environment.json").write_text(json.dumps(commit | (environment or {})))
    return run
