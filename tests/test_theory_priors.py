"""The figure of the priors, before and after."""

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

PATH = Path(__file__).parent.parent / "experiments" / "theory" / "priors.py"
spec = importlib.util.spec_from_file_location("theory_priors", PATH)
priors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(priors)


def read(picture):
    with Image.open(picture) as image:
        image.verify()
    return json.loads(picture.with_suffix(".json").read_text())


def test_a_few_steps_write_picture_and_statistics(tmp_path):
    output = tmp_path / "new" / "priors.png"
    priors.main(["--output", str(output), "--steps", "2", "--seed", "3"])
    written = read(output)
    assert (written["steps"], written["seed"]) == (2, 3)
    assert list(written["priors"]) == list(priors.cases())
    assert sorted(path.name for path in output.parent.iterdir()) == ["priors.json", "priors.png"]


def test_the_committed_figure_shows_every_prior_reached():
    written = read(priors.OUTPUT)
    assert list(written["priors"]) == list(priors.cases())
    for case in written["priors"].values():
        before, after = (max(case[when]["kolmogorov_smirnov"]) for when in ("before", "after"))
        assert after < 0.5 * before


@pytest.mark.slow
def test_noise_injection_reaches_the_prior_from_the_mixture():
    points, before, after = priors.train(priors.cases()["noise_gaussian"], 300, 1)
    assert len(points) == len(before) == len(after)
    assert max(priors.kolmogorov_smirnov(after, "gaussian")) < 0.05
