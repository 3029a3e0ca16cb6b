"""The section of result.json that `test` writes, and what it leaves of earlier ones."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from dim_lightning.callbacks.offline_table import figure_name, lines_about
from dim_lightning.evaluation.offline import CHOSEN, FEW, LINEAR, MLP, OPTIONAL, PAPER, SVM
from dim_lightning.hyperparameters import part_text
from dim_lightning.run.accuracies import RANDOM
from dim_lightning.run.own_code import OWN_CODE, own_code

_SUBJECT = ("pictures", "labels", "shares", "weights", OWN_CODE, "image_size", "precision")
_MLPS = (MLP, PAPER, CHOSEN)
_OF_DRAWS = ("repeats", "seed")  # the settings of few labels
_OF_MLPS = ("mlp_epochs", "mlp_protocol", *_OF_DRAWS)


def joined(
    before: Mapping[str, Any], figures: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """A new test, and of the one before what it has not measured again.

    What it has measured replaces all there was of that protocol on that layer, such as a standard
    deviation of former repetitions. What it has not stays with what is said about it, its settings
    too, unless weights, code, pictures, their labels or size or the precision are others by now.
    Neither does a floor stay that would stand beside layers measured with other settings, nor one
    of an encoder that another seed drew.

    Args:
        before: the section as it is.
        figures: name -> figure, of the new test.
        facts: what else there is to know of it.
    """
    if not _of_the_same_subject(before, facts):
        return {**figures, **facts}
    measured = set(map(_subject, figures))
    measured_otherwise = _measured_otherwise(before, figures, facts)
    kept = {
        name: value
        for name, value in before.items()
        if "/" in name
        and _subject(name) not in measured
        and _protocol(name) not in measured_otherwise
        and not (name.startswith(RANDOM) and _has_another_seed(before, facts))
    }
    return {**figures, **kept, **facts, **_facts_of(kept, before, facts)}


def encoder_code(module: L.LightningModule) -> dict[str, str]:
    """What `own_code` gives of the classes that the encoder consists of, and of what made it."""
    kinds = {type(part) for part in module.encoder.modules()}  # type: ignore[union-attr]
    return own_code({"of": sorted(map(part_text, kinds)), "by": module.hparams.get("encoder")})


def weights_hash(encoder: nn.Module) -> str:
    """Of the values of all weights and buffers: equal weights have an equal one, on any device."""
    return tensors_hash(filter(torch.is_tensor, encoder.state_dict().values()))


def tensors_hash(tensors: Iterable[Tensor]) -> str:
    """Of the values of all of them, in their order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _of_the_same_subject(before: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """The weights, by their steps, as a test may be of the midst of an epoch, and the pictures.

    By the weights themselves as well: a script may test several methods into one folder; and by how
    the pictures are dealt, and their labels, of which there may be more by now. What one of the two
    tests does not name is no difference: early ones name less.
    """
    count = "steps_trained" if "steps_trained" in before else "epochs_trained"
    known = [name for name in (count, *_SUBJECT) if name in before and name in facts]
    return all(before[name] == facts[name] for name in known)


def _subject(name: str) -> str:
    """Protocol and layer of a figure."""
    return name.rpartition("/")[0]


def _protocol(name: str) -> str:
    """The same without the layer, be it a floor's."""
    return _subject(name).removeprefix(RANDOM).rpartition("/")[0]


def _measured_otherwise(
    before: Mapping[str, Any], figures: Mapping[str, float], facts: Mapping[str, Any]
) -> set[str]:
    """The protocols of the new test whose earlier figures were found with other settings.

    These are MLP probes and few labels: of the layers, figures of the other protocols depend on no
    setting.
    """
    then, now = before.get("settings", {}), facts["settings"]
    other = {name for name in _OF_MLPS if name in then and then[name] != now[name]}
    return {name for name in map(_protocol, figures) if other.intersection(_settings_behind(name))}


def _has_another_seed(before: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    seed = facts["settings"]["seed"]
    return before.get("settings", {}).get("seed", seed) != seed


def _settings_behind(protocol: str) -> tuple[str, ...]:
    """Those on which its figures depend."""
    if protocol in _MLPS:
        return _OF_MLPS
    return _OF_DRAWS if protocol.startswith(FEW) else ()


def _facts_of(
    kept: Mapping[str, Any], before: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What is said of single figures, of those that are kept as well."""
    lines = facts["protocol"].splitlines()
    earlier = lines_about(kept, before.get("protocol", ""))
    told: dict[str, Any] = {
        "protocol": "\n".join([*lines, *(line for line in earlier if line not in lines)])
    }
    for fact, protocol in {"l2": LINEAR, "svm_c": SVM}.items():
        found = before.get(fact, {})
        stays = {row: v for row, v in found.items() if figure_name(row, protocol) in kept}
        told[fact] = facts.get(fact, {}) | stays
    found = before.get("estimates", {})
    stays = {each: v for each, v in found.items() if each in map(_subject, kept)}
    told["estimates"] = facts["estimates"] | stays
    commits = before.get("commits", []) if kept else []
    told["commits"] = list(dict.fromkeys([*commits, *facts["commits"]]))
    told["settings"] = _settings_of(kept, before.get("settings", {}), facts["settings"])
    told["repeats"] = told["settings"]["repeats"]
    unsolved = [name for name in before.get("not_converged", []) if name in kept]
    told["not_converged"] = [*facts.get("not_converged", []), *unsolved]
    return told


def _settings_of(
    kept: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a test, and of the measures it left out those with which they were found.

    Those of an earlier test that had another seed, fewer floors or smaller layers are not told:
    settings say what was measured of everything, and that was not.
    """
    told = dict(now)
    before = {**now, **before} if before else {}  # early ones name less
    if before.get("seed") != now["seed"] or before["floors"] < now["floors"]:
        return told
    wide, wide_before = (_most(one["linear_dim"]) for one in (now, before))
    passed_by = {FEW}  # which is told share by share
    if wide_before < wide:
        passed_by.add(SVM)
    if now["few_labels"] and before["repeats"] != now["repeats"]:
        passed_by.add(MLP)  # one number of draws is told of both
    for names, kind in OPTIONAL.items():
        if kind in passed_by:
            continue
        if not now[names[0]] and any(name.startswith(kind) for name in kept):
            told |= {name: before[name] for name in names}
    few = [share for share in before["few_labels"] if any(f"{FEW}/{share:g}/" in n for n in kept)]
    as_often = before["repeats"] == told["repeats"]
    told["few_labels"] = sorted({*now["few_labels"], *(few if as_often else ())})
    if wide < wide_before and told["svm"] <= before["svm"]:
        told["linear_dim"] = before["linear_dim"]
    return told


def _most(linear_dim: int | None) -> float:
    return math.inf if linear_dim is None else float(linear_dim)
