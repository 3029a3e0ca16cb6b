"""From an image to its features: the feature map, the layers to probe, the code."""

from dim_lightning.encoders.backbone import TorchvisionEncoder
from dim_lightning.encoders.blog import BlogEncoder
from dim_lightning.encoders.encoder import (
    Encoder,
    Features,
    FeatureShape,
    check_encoder,
    statistics_held,
)
from dim_lightning.encoders.paper import PaperEncoder, PaperEncoder64
from dim_lightning.encoders.residual import ResidualEncoder
from dim_lightning.encoders.strided import StridedEncoder

__all__ = [
    "BlogEncoder",
    "Encoder",
    "FeatureShape",
    "Features",
    "PaperEncoder",
    "PaperEncoder64",
    "ResidualEncoder",
    "StridedEncoder",
    "TorchvisionEncoder",
    "check_encoder",
    "statistics_held",
]
