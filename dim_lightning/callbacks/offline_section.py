"""The section of result.json that `test` writes, and what it leaves of earlier ones."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dim_lightning.callbacks.offline_table import figure_name, lines_about
from dim_lightning.evaluation.offline import LINEAR, SVM

_SUBJECT = ("pictures", "shares", "weights")


def joined(
    before: Mapping[str, Any], figures: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """A new test, and of the one before what it has not measured again.

    What it has measured replaces all there was of that protocol on that layer, such as a standard
    deviation of former repetitions. What it has not stays with what is said about it, unless
    weights or pictures are others by now.

    Args:
        before: the section as it is.
        figures: name -> figure, of the new test.
        facts: what else there is to know of it.
    """
    if not _of_the_same_subject(before, facts):
        return {**figures, **facts}
    measured = set(map(_subject, figures))
    kept = {n: v for n, v in before.items() if "/" in n and _subject(n) not in measured}
    return {**figures, **kept, **facts, **_facts_of(kept, before, facts)}


def weights_hash(encoder: nn.Module) -> str:
    """Of the values of all weights and buffers: equal weights have an equal one, on any device."""
    digest = hashlib.sha256()
    for tensor in filter(torch.is_tensor, encoder.state_dict().values()):
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _of_the_same_subject(before: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """The weights, by their steps, as a test may be of the midst of an epoch, and the pictures.

    By the weights themselves as well: a script may test several methods into one folder; and by how
    the pictures are dealt. What one of the two tests does not name is no difference: early ones
    name less.
    """
    count = "steps_trained" if "steps_trained" in before else "epochs_trained"
    known = [name for name in (count, *_SUBJECT) if name in before and name in facts]
    return all(before[name] == facts[name] for name in known)


def _subject(name: str) -> str:
    """Protocol and layer of a figure."""
    return name.rpartition("/")[0]


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
    told["estimates"] = facts.get("estimates", {}) | stays
    unsolved = [name for name in before.get("not_converged", []) if name in kept]
    told["not_converged"] = [*facts.get("not_converged", []), *unsolved]
    return told
