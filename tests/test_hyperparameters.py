"""Parts of a method as text, and whether a checkpoint was trained with the same."""

from enum import Enum
from functools import partial

import pytest
import torch

from dim_lightning.encoders import BlogEncoder
from dim_lightning.errors import InputError
from dim_lightning.hyperparameters import PARTS, check_hyperparameters, part_text
from dim_lightning.infomax.occlusion import Occlusion


def check(stored, given):
    """Loads a checkpoint of these parts into a method that has those."""
    check_hyperparameters("Own", {PARTS: stored}, given)


BLOG = "dim_lightning.encoders.blog.BlogEncoder"
HERE = f"{__name__}.test_parts_as_text.<locals>"


def test_parts_as_text():
    def local():
        pass

    for part, text in {
        BlogEncoder: BLOG,
        local: f"{HERE}.local",
        partial(
            BlogEncoder, 32, widths=(4,), norm=None
        ): f"partial({BLOG}, 32, norm=None, widths=(4,))",
        partial(
            local, inner=partial(local, 0.5)
        ): f"partial({HERE}.local, inner=partial({HERE}.local, 0.5))",
        (lambda: None): f"{HERE}.<lambda>",
        ("a", local): f"['a', {HERE}.local]",
        Occlusion(fill=0.1): "dim_lightning.infomax.occlusion.Occlusion("
        "fill=0.1, max_fraction=0.6, min_fraction=0.25)",
        str.upper: "str.upper",
        None: "None",
    }.items():
        assert part_text(part) == text


def test_a_part_that_lies_in_another_module_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match=f"encoder was __main__.BlogEncoder, here it is {BLOG}"):
        check({"encoder": "__main__.BlogEncoder"}, {"encoder": BlogEncoder})


class Mode(Enum):
    FAST = 1


class Counting:
    """Keeps a setting and a count."""

    def __init__(self, step=1):
        self.step, self.count = step, {float: 7}


def test_an_object_is_its_class_and_its_settings():
    part, name = Counting(2), f"{__name__}.Counting"
    assert part_text(part) == f"{name}(step=2)"
    check({"prior": f"{name}(step=2)"}, vars_of(part))
    with pytest.raises(InputError, match=r"prior was .*Counting, here it is .*\(step=2\)"):
        check({"prior": name}, vars_of(part))  # of a class that had no settings
    with pytest.raises(InputError, match=r"prior was .*Counting\(step=1\)"):
        check({"prior": f"{name}(step=1)"}, vars_of(part))
    assert part_text({"a": Counting, 1: [Mode.FAST]}) == (
        f"{{'a': {name}, 1: [{__name__}.Mode.FAST]}}"
    )
    assert part_text({1: [Mode.FAST], "a": Counting}) == part_text({"a": Counting, 1: [Mode.FAST]})
    assert part_text(torch.float16) == "torch.float16"


def vars_of(part):
    return dict.fromkeys(("report", "prior"), part)


@pytest.mark.parametrize(("was", "now"), [(1.5, 0.5), ("a.b", "c.b")])
def test_a_part_in_another_module_with_other_settings_is_refused(was, now):
    with pytest.raises(InputError, match="encoder was partial"):
        check(
            {"encoder": f"partial(__main__.BlogEncoder, widths={was!r})"},
            {"encoder": partial(BlogEncoder, widths=now)},
        )


@pytest.mark.parametrize("goes_on", [False, True])
def test_of_another_schedule_it_tells_where_the_training_goes_on(caplog, goes_on):
    stored = {PARTS: {"optimizer": "torch.optim.adamw.AdamW"}, "hyper_parameters": {"lr": 1}}
    stored["hyper_parameters"]["lr_scheduler"] = None
    given = {"optimizer": torch.optim.AdamW, "lr": 1}
    with caplog.at_level("INFO", "lightning"):
        for schedule in (None, torch.optim.lr_scheduler.ConstantLR):
            check_hyperparameters("Own", stored, {**given, "lr_scheduler": schedule}, goes_on)
    said = [record.message for record in caplog.records]
    name = "torch.optim.lr_scheduler.ConstantLR"
    expected = [f"lr_scheduler was None, here it is {name}, by which the training goes on"]
    assert said == (expected if goes_on else [])
