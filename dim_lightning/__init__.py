"""Deep InfoMax with PyTorch Lightning.

The path of an image, which is the order of the folders and of the imports:

    data         images uint8 [n, 3, h, w] --augmentation--> float in [0, 1]
    encoders     images -> Features: feature map C [n, c, h, w], layers to probe, mean and
                 log variance of p(z|x) [n, d]
    optim        what torch.optim has not: Muon, decay of weights alone, a short schedule
    encoder_module  what every method that trains an encoder shares
    infomax      critics: (images, C, z) -> Scores: joint [n, m], marginal [n, k, m]
                 estimators: Scores -> nats; priors: Features -> nats
                 objective: -alpha I_global - beta I_local + gamma prior
                 deep_infomax: the LightningModule that descends it
    baselines    what it is compared with: autoencoders, BiGAN, NAT, supervised
    evaluation   frozen features -> accuracies and geometry, plain functions
    run          the folder of a run: config, environment, metrics, pictures, page
    sweep        searches over settings: W&B's sweep files, run here
    table        tables of runs: what is missing of them, and how near they come
    callbacks    probe, neighbours, geometry, pictures: they observe, and never change the training
    export       the encoder as files for those who have none of this code, and `load`
    cli          python -m dim_lightning fit --config FILE

Shape letters: n images, c channels at h x w locations, m locations a critic scores, k negatives an
image, d dimensions of the code.

The paper's symbols here: x `images`; C_psi(x) `feature_map`; E_psi(x), y, z `embedding`, or `mean`
and `log_variance` where Gaussian; T_global, T_local `global_critic`, `local_critic`; alpha, beta,
gamma `global_weight`, `local_weight`, `prior_weight`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dim_lightning import (
        baselines,
        callbacks,
        data,
        encoders,
        evaluation,
        export,
        infomax,
        optim,
    )
    from dim_lightning.data import ImageDataModule
    from dim_lightning.encoder_module import EncoderModule
    from dim_lightning.encoders import (
        BlogEncoder,
        Encoder,
        Features,
        FeatureShape,
        PaperEncoder,
        PaperEncoder64,
        ResidualEncoder,
        StridedEncoder,
        TorchvisionEncoder,
    )
    from dim_lightning.errors import InputError
    from dim_lightning.export import PictureEncoder, export_encoder, load
    from dim_lightning.infomax.deep_infomax import DeepInfoMax
    from dim_lightning.infomax.scores import Scores, ScoreSet

    __version__: str

__all__ = [
    "BlogEncoder",
    "DeepInfoMax",
    "Encoder",
    "EncoderModule",
    "FeatureShape",
    "Features",
    "ImageDataModule",
    "InputError",
    "PaperEncoder",
    "PaperEncoder64",
    "PictureEncoder",
    "ResidualEncoder",
    "ScoreSet",
    "Scores",
    "StridedEncoder",
    "TorchvisionEncoder",
    "baselines",
    "callbacks",
    "data",
    "encoders",
    "evaluation",
    "export",
    "export_encoder",
    "infomax",
    "load",
    "optim",
]
_HOMES = {
    "BlogEncoder": "encoders",
    "DeepInfoMax": "infomax.deep_infomax",
    "Encoder": "encoders",
    "EncoderModule": "encoder_module",
    "FeatureShape": "encoders",
    "Features": "encoders",
    "ImageDataModule": "data",
    "InputError": "errors",
    "PaperEncoder": "encoders",
    "PaperEncoder64": "encoders",
    "PictureEncoder": "export",
    "ResidualEncoder": "encoders",
    "ScoreSet": "infomax.scores",
    "Scores": "infomax.scores",
    "StridedEncoder": "encoders",
    "TorchvisionEncoder": "encoders",
    "export_encoder": "export",
    "load": "export",
}

if not TYPE_CHECKING:  # for whom it would make a name of every misspelling

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for: `import dim_lightning` stays quick."""
        if name == "__version__":
            return import_module(f"{__name__}.version").version()
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name not in _HOMES:  # a folder
            return import_module(f"{__name__}.{name}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
