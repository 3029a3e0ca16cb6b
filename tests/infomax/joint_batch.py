"""One joint batch, scored by one process or by several: the part that a test starts in each."""

from pathlib import Path

import torch
from joined import averaged, joined
from torch import nn

from dim_lightning import processes
from dim_lightning.encoders import Encoder, Features, FeatureShape
from dim_lightning.infomax import estimators
from dim_lightning.infomax.all_pairs import AllPairs
from dim_lightning.infomax.aspects import ImageCode, WholeMap
from dim_lightning.infomax.critics import BilinearCritic, ConcatCritic, DotCritic
from dim_lightning.infomax.deep_infomax import DeepInfoMax
from dim_lightning.infomax.priors import GaussianKL

NUM_IMAGES = 12
NUM_UNEVEN = 11  # no two or three processes have equally many of them


class SmallEncoder(Encoder):
    """A Gaussian encoder without batch norm, which would see the batch of a process only."""

    def __init__(self, image_size):
        super().__init__()
        self.feature_shape = FeatureShape(4, 2, 2)
        self.embedding_dim = 6
        self.trunk = nn.Conv2d(3, 4, 4, stride=4)
        self.head = nn.Linear(16, 12)

    def forward(self, images):
        feature_map = torch.tanh(self.trunk(images))
        mean, log_variance = self.head(feature_map.flatten(1)).chunk(2, dim=1)
        return Features(feature_map, {"embedding": mean}, mean, log_variance)


def dot(source_dim, code_dim):
    return DotCritic(source_dim, code_dim, width=8)


def concat(source_dim, code_dim):
    return ConcatCritic(source_dim, code_dim, widths=(8, 8))


class TiledCritic(ConcatCritic):
    """Cuts all pairs into tiles, as large batches are cut."""

    def __init__(self, source_dim, code_dim):
        super().__init__(source_dim, code_dim, widths=(8, 8))

    def forward(self, source, code, negatives):
        sides = self.encode_source(source), self.encode_code(code)
        scores = AllPairs(self.pair, *sides, self.pair_parameters(), whole_scores=0)
        scores.tile_scores, scores.tile_codes = 60, 4
        return scores


SETTINGS = {
    "shuffle, jensen_shannon, concat": {"local_critic": concat, "global_critic": concat},
    "3 negatives, donsker_varadhan, dot": {
        "num_negatives": 3,
        "estimator": estimators.donsker_varadhan,
        "local_critic": dot,
        "global_critic": dot,
        "global_aspect": WholeMap,
    },
    "3 negatives, info_nce, concat": {
        "num_negatives": 3,
        "estimator": estimators.info_nce,
        "local_critic": concat,
        "global_weight": 0.0,
    },
    **{
        f"all pairs, {name}, dot": {
            "num_negatives": "all",
            "estimator": getattr(estimators, name),
            "report": [estimators.nwj, estimators.smile],
            "local_critic": dot,
            "global_critic": BilinearCritic,
            "global_aspect": ImageCode,
            "score_penalty": 0.1,
        }
        for name in ("jensen_shannon", "donsker_varadhan", "info_nce", "n_way_nce")
    },
    **{
        f"all pairs, {name}, in tiles": {
            "num_negatives": "all",
            "estimator": getattr(estimators, name),
            "local_critic": TiledCritic,
            "global_weight": 0.0,
        }
        for name in ("nwj", "info_nce", "n_way_nce")
    },
    "all pairs, nwj, concat, sampled locations, patches": {
        "num_negatives": "all",
        "estimator": estimators.nwj,
        "local_critic": concat,
        "global_weight": 0.0,
        "num_locations": 2,
        "patch_weight": 0.5,
        "patch_critic": concat,
    },
}


def joint_images():
    generator = torch.Generator().manual_seed(5)
    return torch.rand(NUM_IMAGES, 3, 8, 8, generator=generator, dtype=torch.double)


def terms_without_gradient(images):
    """For each of SETTINGS the terms of these images, as a mean over the joint batch."""
    found = losses_and_gradients(images)
    return {name: processes.joint_terms(terms, len(images)) for name, (terms, _) in found.items()}


def losses_and_gradients(images):
    """For each of SETTINGS the terms and the gradient of every parameter, of these images."""
    found = {}
    for name, settings in SETTINGS.items():
        torch.manual_seed(0)
        module = DeepInfoMax(SmallEncoder, prior=GaussianKL, image_size=8, **settings).double()
        generator = torch.Generator().manual_seed(1)
        terms = module.objective(*module.views_of([images], generator), generator)
        terms["loss"].backward()
        gradients = {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
        detached = {k: v.detach() for k, v in terms.items()}
        found[name] = (detached, gradients)
    return found


def run_process(rank, num_processes, folder):
    """Computes this process's rows and averages as data-parallel training does."""
    with joined(rank, num_processes, folder):
        own = joint_images()[:NUM_UNEVEN].tensor_split(num_processes)[rank]
        with processes.uneven_rows(len(own)):
            uneven = terms_without_gradient(own)
        found = averaged(losses_and_gradients(processes.own_rows(joint_images())))
        if rank == 0:
            torch.save((found, uneven), Path(folder) / "found.pt")
