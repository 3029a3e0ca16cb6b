"""From an image to its features: the feature map, the layers to probe, the code."""

from dim_lightning.encoders.blog import BlogEncoder
from dim_lightning.encoders.encoder import Encoder, Features, FeatureShape

__all__ = ["BlogEncoder", "Encoder", "FeatureShape", "Features"]
