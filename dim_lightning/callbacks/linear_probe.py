"""A linear classifier that learns beside the encoder, on detached codes."""

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from dim_lightning.callbacks.observation import LastTrained, data_of, part_of, tensors_of
from dim_lightning.encoder_module import is_written
from dim_lightning.errors import check_least
from dim_lightning.evaluation.fitting import seeded
from dim_lightning.processes import joint_size, num_processes, total
from dim_lightning.seeding import check_seed

_ASKED = ("embedding", "labels")  # of a step


class LinearProbe(Callback):
    """Logs how well the classes can be read off the codes, each validation epoch.

    A batch norm without parameters, which standardises, and a linear layer, trained by an Adam of
    their own on the mean codes of the training batches: of the first view, augmented, by an encoder
    in training mode. Validation has clean images and eval mode. The encoder does not notice. This
    is a quick look that lags behind a moving encoder; the figure to publish is that of `test`.

    Logs `probe/online/top1` (validation, in [0, 1]) and `probe/online/train_loss` (nats). On
    several processes there is one probe, trained on the joint batch: moments and gradients are
    those of all codes. (The codes themselves would take less code, but of 1,024 processes they are
    a fifth of all that is sent.) It goes on with a module that is trained on, and begins anew with
    another.

    Args:
        learning_rate: of Adam.
        weight_decay: of Adam.
        seed: of the initial weights.
    """

    def __init__(self, *, learning_rate: float = 1e-3, weight_decay: float = 0.0, seed: int = 0):
        check_least("probe.learning_rate", learning_rate, 0)
        check_least("probe.weight_decay", weight_decay, 0)
        check_seed("probe.seed", seed)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
        self._probe: nn.Sequential | None = None
        self._optimizer: torch.optim.Adam | None = None
        self._accuracy: MulticlassAccuracy | None = None
        self._stored: dict[str, Any] | None = None
        self._num_classes: int | None = None
        self._of = LastTrained()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Learns the number of classes; says so where there are none."""
        self._num_classes = data_of(trainer).num_classes
        if self._probe is not None and not self._is_of_these_classes(self.state_dict()):
            self._set_aside(self.state_dict())  # as one that a checkpoint brings along
        if stage == "fit" and self._num_classes is None:
            pl_module.print(
                "the pictures have no labels: linear probe and kNN accuracy are off, the pictures "
                "of neighbours stay on"
            )

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Drops the probe of another module.

        Raises:
            InputError: the module does not say how large its codes are.
        """
        if self._num_classes is not None:
            part_of(pl_module, "embedding_dim")
        if self._of.changes_to(pl_module):
            self._set_aside(None)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Builds the probe, or takes up the one of the checkpoint."""
        self._build(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """One step of the probe on the codes of this batch.

        Raises:
            InputError: the module's step gives no codes or no labels.
        """
        if self._probe is None or self._optimizer is None:
            return
        embedding, labels = tensors_of(pl_module, "training_step", outputs, _ASKED)
        if joint_size(len(labels)) < 2:
            return
        embedding = embedding.detach().float()
        self._probe.train()
        with torch.enable_grad():
            logits = self._probe(embedding)
            share = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
            num_labelled = total((labels >= 0).sum())
            loss = share / num_labelled.clamp_min(1)
        self._optimizer.zero_grad()
        loss.backward()
        self._add_over_processes()
        self._optimizer.step()
        if not is_written(trainer, trainer.global_step) or not num_labelled:
            return  # of a step without labels there is no loss
        joint = total(loss.detach())
        pl_module.log("probe/online/train_loss", joint, batch_size=joint_size(len(labels)))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the count; a checkpoint that is only validated brings its probe along.

        One of other classes is left out then: a fresh one would not be trained.
        """
        self._follow(pl_module.device)
        if self._probe is None and self._stored:
            if trainer.state.fn == "fit" or self._is_of_these_classes(self._stored):
                self._build(pl_module)
            elif self._num_classes is not None:
                pl_module.print("the linear probe is left out: there are other classes")
        if self._accuracy is not None:
            self._accuracy.reset()

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Counts the images of this batch that are classified rightly.

        Raises:
            InputError: the module's step gives no codes or no labels.
        """
        if self._num_classes is None:
            return
        embedding, labels = tensors_of(pl_module, "validation_step", outputs, _ASKED)
        if trainer.sanity_checking or self._probe is None or self._accuracy is None:
            return
        self._probe.eval()
        self._accuracy.update(self._probe(embedding.float()), labels)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the accuracy."""
        if trainer.sanity_checking or self._accuracy is None:
            return
        top1 = self._accuracy.compute()
        pl_module.log("probe/online/top1", top1, prog_bar=True, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """The probe and its optimiser, in plain types and tensors."""
        if self._probe is None or self._optimizer is None:
            return self._stored or {}
        return {"probe": self._probe.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state until the sizes and the device are known."""
        self._of = LastTrained()
        self._set_aside(state_dict)

    def _set_aside(self, state: dict[str, Any] | None) -> None:
        """Has no probe until one is built, from this state if there is one."""
        self._stored = state
        self._probe = self._optimizer = self._accuracy = None

    def _follow(self, device: torch.device) -> None:
        """A probe of an earlier training on another device goes on from its state on this one."""
        if self._probe is not None and next(self._probe.parameters()).device != device:
            self._set_aside(self.state_dict())

    @torch.inference_mode(False)  # of a validation, whose tensors no training could change
    def _build(self, pl_module: L.LightningModule) -> None:
        self._follow(pl_module.device)
        if self._num_classes is None or self._probe is not None:
            return
        device = pl_module.device
        embedding_dim = part_of(pl_module, "embedding_dim")
        self._probe = _probe(embedding_dim, self._num_classes, self.seed).to(device)
        self._optimizer = torch.optim.Adam(
            self._probe.parameters(),
            self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,  # on a CPU others read their count of steps from each parameter
        )
        self._accuracy = MulticlassAccuracy(
            self._num_classes, average="micro", ignore_index=-1, validate_args=False
        ).to(device)
        stored, self._stored = self._stored, None
        if not stored:
            return
        if not self._is_of_these_classes(stored):
            pl_module.print("the linear probe begins anew: there are other classes")
            return
        self._probe.load_state_dict(stored["probe"])
        own = {"param_groups": self._optimizer.state_dict()["param_groups"]}  # the rate asked for
        self._optimizer.load_state_dict(stored["optimizer"] | own)

    def _is_of_these_classes(self, state: dict[str, Any]) -> bool:
        return len(state["probe"]["1.weight"]) == self._num_classes

    def _add_over_processes(self) -> None:
        """The gradient of the joint batch's loss, in a single exchange."""
        if self._probe is None or num_processes() == 1:
            return
        shares = [p.grad for p in self._probe.parameters() if p.grad is not None]
        whole = total(torch.cat([share.flatten() for share in shares]))
        for share, part in zip(shares, whole.split([s.numel() for s in shares]), strict=True):
            share.copy_(part.view_as(share))


class _JointNorm(nn.BatchNorm1d):
    """Standardises by the moments of the joint batch, through which no gradient flows.

    PyTorch's own for several processes refuses the CPU.
    """

    def forward(self, codes: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(codes)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        count = joint_size(len(codes))
        mean = total(codes.sum(0)) / count
        variance = total((codes - mean).square().sum(0)) / count
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return (codes - mean) * (variance + self.eps).rsqrt()


def _probe(embedding_dim: int, num_classes: int, seed: int) -> nn.Sequential:
    """The layers, drawn from `seed`; the global generator is left where it was."""
    with seeded(seed, torch.device("cpu")):
        return nn.Sequential(
            _JointNorm(embedding_dim, affine=False), nn.Linear(embedding_dim, num_classes)
        )
