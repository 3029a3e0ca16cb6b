"""What torch.optim has not: Muon for convolutions, and the schedule of short trainings."""

from dim_lightning.optim.muon_adamw import MuonAdamW
from dim_lightning.optim.warmup_cosine import WarmupCosine

__all__ = ["MuonAdamW", "WarmupCosine"]
