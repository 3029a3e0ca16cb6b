import pytest
import torch

from dim_lightning.cli.checks import slow_precision
from dim_lightning.evaluation.search import multiplies_bfloat16


@pytest.mark.parametrize(
    ("precision", "seconds", "said"),
    [
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.12}, "4.0 times as long as 32-true"),
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.035}, None),  # hardly slower
        ("bf16-mixed", {"32-true": 0.03, "bf16-mixed": 0.01}, None),
        ("64-true", {"32-true": 0.03, "bf16-mixed": 0.01}, None),  # asked for, not measured
    ],
)
def test_a_precision_that_is_slow_here_is_said(precision, seconds, said):
    hint = slow_precision(precision, seconds)
    assert hint is None if said is None else said in str(hint)


@pytest.mark.skipif(
    multiplies_bfloat16(torch.device("cpu")), reason="this processor is quick in bfloat16"
)
def test_a_training_in_a_slow_precision_says_so(workshop, caplog):
    words = ["--trainer.precision", "bf16-mixed", "--trainer.limit_train_batches", "1"]
    assert workshop.fit("--experiment", "slow_precision", *words) == 0
    assert "--trainer.precision 32-true is quicker" in caplog.text
