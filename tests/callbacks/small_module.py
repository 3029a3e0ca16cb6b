"""A LightningModule of one weight that returns what DeepInfoMax returns."""

import lightning as L
import torch
from quiet import trainer
from torch.utils.data import DataLoader


class Small(L.LightningModule):
    """Steps whose terms can be spoilt: step (from 1) -> name -> value."""

    def __init__(self, spoilt=None, spoil_weight=False):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.spoilt = spoilt or {}
        self.spoil_weight = spoil_weight

    def training_step(self, batch, batch_idx):
        terms = {"loss": 1.25, "local": -1.0, "prior": 0.5}
        terms |= self.spoilt.get(self.global_step + 1, {})
        if self.spoil_weight:
            self.weight.data[1] = float("inf")
        detached = {name: torch.tensor(value) for name, value in terms.items()}
        return {"loss": self.weight.sum() * 0, "embedding": torch.zeros(4, 2), "terms": detached}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return DataLoader(torch.zeros(24, 1), batch_size=4)


def train(callbacks, module=None, **options):
    """Trains on 24 images in batches of 4."""
    options = {"max_epochs": 1, **options}
    trainer(None, callbacks=callbacks, **options).fit(module or Small())
