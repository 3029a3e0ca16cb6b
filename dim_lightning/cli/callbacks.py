"""Lightning's own callbacks, of which some do not go together with how a run is kept."""

from collections.abc import Sequence

from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
)

from dim_lightning.errors import InputError

_REFUSED = {  # why, and what to do instead
    OnExceptionCheckpoint: (
        "from whose file the next run, whichever it is, would begin",
        "the state is saved anyway, see checkpoint.every_minutes",
    ),
    StochasticWeightAveraging: (
        "which adds an epoch to those of the run, and averages a step that did not happen",
        "take EMAWeightAveraging",
    ),
    BatchSizeFinder: (
        "by which batches are others than the run's settings say, and a resumed run begins anew",
        "set data.batch_size",
    ),
    LearningRateFinder: (
        "by which a resumed run begins anew",
        "set the rate of model.optimizer; a sweep finds one",
    ),
    GradientAccumulationScheduler: (
        "by which schedules of the learning rate and resumed epochs are not exact",
        "set trainer.accumulate_grad_batches",
    ),
}
_OF_NEIGHBOURS = ("knn/", "best/knn/", "neighbours/")


def check_callbacks(
    callbacks: Sequence[Callback] | Callback | None, between_looks: int, between: int | None
) -> None:
    """Looks at whether a training can have these callbacks.

    Args:
        callbacks: trainer.callbacks.
        between_looks: neighbours.every_n_epochs.
        between: trainer.check_val_every_n_epoch, the epochs from a validation to the next.

    Raises:
        InputError: it cannot, or one monitors what is not measured at each validation.
    """
    given = [callbacks] if isinstance(callbacks, Callback) else callbacks or []
    for callback in given:
        name = type(callback).__name__
        for kind, (why, instead) in _REFUSED.items():
            if isinstance(callback, kind):
                raise InputError(f"trainer.callbacks has {name}, {why}; leave it out: {instead}")
        if not isinstance(callback, ModelCheckpoint | EarlyStopping):
            continue
        kept = callback._every_n_epochs if isinstance(callback, ModelCheckpoint) else 1
        epochs = max(between or 1, kept)
        always = (between or 1) >= between_looks or epochs % between_looks == 0
        if str(callback.monitor).startswith(_OF_NEIGHBOURS) and not always:
            raise InputError(
                f"trainer.callbacks: {name} monitors {callback.monitor}, which is measured every "
                f"{between_looks} epochs; expected a figure of each validation; set "
                "neighbours.every_n_epochs to 1, or monitor probe/online/top1"
            )
