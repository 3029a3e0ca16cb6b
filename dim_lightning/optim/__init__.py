"""What torch.optim has not: Muon, decay of weights alone, the schedule of short trainings."""

from dim_lightning.optim.exclude_bias_and_norm import ExcludeBiasAndNorm
from dim_lightning.optim.muon_adamw import MuonAdamW
from dim_lightning.optim.warmup_cosine import WarmupCosine

__all__ = ["ExcludeBiasAndNorm", "MuonAdamW", "WarmupCosine"]
