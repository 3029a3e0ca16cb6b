"""Critics T: how well does a code belong to an image, or to one location of it?"""

from dim_lightning.infomax.critics.concat import ConcatCritic
from dim_lightning.infomax.critics.critic import Critic
from dim_lightning.infomax.critics.products import BilinearCritic, CosineCritic, DotCritic

__all__ = ["BilinearCritic", "ConcatCritic", "CosineCritic", "Critic", "DotCritic"]
