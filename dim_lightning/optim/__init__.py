"""What torch.optim has not: Muon, decay of weights alone, the schedule of short trainings."""

from dim_lightning.optim.muon_adamw import MuonAdamW
from dim_lightning.optim.warmup_cosine import WarmupCosine
from dim_lightning.optim.weights_decayed import ExcludeBiasAndNorm

__all__ = ["ExcludeBiasAndNorm", "MuonAdamW", "WarmupCosine"]
