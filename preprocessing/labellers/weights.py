"""Outside weights that a labeller backend runs: found and accepted by the caller, handed down by path.

Which file a name means, and whether its licence was accepted, is not known in this room; it comes resolved.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OUTSIDE_WEIGHTS_NAME: Final = "pretrained_weights.json"
LABELLERS_NAME: Final = "labellers.json"
DIGEST_DIGITS: Final = 8  # of a sha256, where a person reads it


@dataclass(frozen=True)
class WantedWeights:
    """What a backend wants: told by name of the list or by path, for a setting that takes it."""

    told: str
    setting: str  # what the list of outside weights calls it, such as deep3d_weights


@dataclass(frozen=True)
class LabellerWeights:
    """A file of outside weights, found."""

    path: Path
    sha256: str  # 64 hex digits
    record: str  # JSON: whose it is and who accepted its licence, published as outside_weights.json


def labeller_name(name: str, version: str, weights: LabellerWeights | None = None) -> str:
    """Who labels, as samples and tables tell it: backend, version, and which weights it ran."""
    told = f"{name} {version}"
    return told if weights is None else f"{told} weights {weights.sha256[:DIGEST_DIGITS]}"


def weights_of(step: str, backend: str, weights: LabellerWeights | None) -> LabellerWeights:
    """The weights that a backend cannot do without.

    Raises:
        ValueError: none were handed down.
    """
    if weights is None:
        raise ValueError(f"{step}: backend {backend} runs outside weights, and none were handed to it")
    return weights


def check_choice(step: str, backend: str, weights: str, default: str, others: Collection[str]) -> None:
    """Refuse a backend that there is not, and weights that nothing would run.

    Args:
        step: whose choice it is.
        backend: that is chosen.
        weights: that are told for it.
        default: the backend that runs none.
        others: those that run some.

    Raises:
        ValueError: as said.
    """
    if backend != default and backend not in others:
        raise ValueError(f"{step}: no backend {backend!r}; there are {', '.join((default, *others))}")
    if weights and backend == default:
        raise ValueError(f"{step}: weights are {weights!r}, but backend {backend} runs none")


def write_who_labelled(folder: Path, labellers: Mapping[str, str], weights: LabellerWeights) -> None:
    """Tell beside a step's tables who labelled, and whose weights took part.

    The default backends write neither: without the file, labels are theirs.
    """
    _write_labellers(folder, labellers)
    (folder / OUTSIDE_WEIGHTS_NAME).write_text(weights.record, "utf-8")


def read_who_labelled(folder: Path) -> dict[str, str]:
    """Label -> labeller of a step's folder; {} where the defaults labelled."""
    path = folder / LABELLERS_NAME
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def pass_on_who_labelled(source: Path, folder: Path) -> None:
    """Tell in a step's folder who labelled what it reads; nothing where the defaults did."""
    if labellers := read_who_labelled(source):
        _write_labellers(folder, labellers)


def _write_labellers(folder: Path, labellers: Mapping[str, str]) -> None:
    (folder / LABELLERS_NAME).write_text(json.dumps(dict(labellers), indent=1, sort_keys=True), "utf-8")
