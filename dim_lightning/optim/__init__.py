"""What torch.optim has not: a schedule of short trainings."""

from dim_lightning.optim.warmup_cosine import WarmupCosine

__all__ = ["WarmupCosine"]
