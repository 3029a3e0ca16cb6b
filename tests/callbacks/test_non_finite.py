"""A number that is none is found at its first step, by its name, before a checkpoint."""

from contextlib import nullcontext

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from small_module import Small, train

from dim_lightning.callbacks.non_finite import NonFiniteGuard
from dim_lightning.errors import InputError

NAN, INF = float("nan"), float("inf")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # Lightning 2.6 calls it
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),  # 24 numbers need none
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),  # on purpose
]


def test_names_the_term_and_the_first_step():
    spoilt = {3: {"loss": NAN, "prior": INF}, 4: {"loss": NAN, "local": NAN}}
    with pytest.raises(InputError, match=r"the prior term became NaN or infinite at step 3 "):
        train([NonFiniteGuard()], Small(spoilt), log_every_n_steps=4)


def test_terms_may_come_and_go():
    spoilt = {2: {"late": 1.0}, 4: {"late": NAN, "loss": NAN}, 5: {"local": NAN}}
    with pytest.raises(InputError, match=r"the late term became NaN or infinite at step 4 "):
        train([NonFiniteGuard()], Small(spoilt), log_every_n_steps=6)


def test_says_the_loss_where_no_term_is_bad():
    with pytest.raises(InputError, match="the loss became NaN or infinite at step 2 "):
        train([NonFiniteGuard()], Small({2: {"loss": INF}}), log_every_n_steps=2)


def test_a_new_training_knows_nothing_of_an_earlier_one():
    guard = NonFiniteGuard()
    with pytest.raises(InputError, match="the loss became NaN"):
        train([guard], Small({2: {"loss": INF}}))
    train([guard])


def test_no_checkpoint_keeps_a_broken_state(tmp_path):
    """The guard's turn never came within the epoch, and still it is before the checkpoint's."""
    checkpoint = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    guard = NonFiniteGuard(tmp_path / "last.ckpt")
    module = Small({8: {"local": NAN}})  # in the second epoch of six steps
    with pytest.raises(InputError, match=r"local term .* step 8 \(epoch 2\).*good .*last\.ckpt"):
        train(
            [checkpoint, guard],
            module,
            log_every_n_steps=100,
            max_epochs=2,
            enable_checkpointing=True,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch=0-step=6.ckpt", "last.ckpt"]


def test_looks_at_the_weights_too():
    with pytest.raises(InputError, match=r"weight became NaN or infinite by step 6 "):
        train([NonFiniteGuard()], Small(spoil_weight=True), log_every_n_steps=100)


@pytest.mark.parametrize(("steps", "stops"), [(29, False), (30, True)])
def test_a_training_whose_every_step_is_left_out_ends(steps, stops):
    """The loss and the weights are finite all the while."""
    module = Small()
    module.weight.register_hook(lambda gradient: gradient * NAN)
    scaler = torch.amp.GradScaler("cpu")  # begins at 2^16 and halves
    options = {
        "plugins": [MixedPrecision("16-mixed", "cpu", scaler)],
        "max_epochs": -1,
        "max_steps": steps,
        "log_every_n_steps": steps,
    }
    said = r"scale is 6e-05 at step 30.*no checkpoint.*--trainer\.precision bf16-mixed"
    with pytest.raises(InputError, match=said) if stops else nullcontext():
        train([NonFiniteGuard()], module, **options)
    assert module.weight.tolist() == [1, 1]


def test_is_content_with_finite_numbers():
    train([NonFiniteGuard()], log_every_n_steps=1)
    train([NonFiniteGuard()], log_every_n_steps=0)
