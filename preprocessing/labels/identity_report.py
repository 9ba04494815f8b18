"""Whether identities are mixed up: clips of two people, clips of somebody else, one person under two names.

Reads the identity embeddings of every batch that has them. It reports and changes nothing: what is found is a
row with its cosine, and the bounds are settings, which no weights of ours have been measured against.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field
from upath import UPath

from preprocessing.labellers.weights import read_who_labelled
from preprocessing.labels.identity import EMBEDDINGS_SCHEMA, EMBEDDINGS_TABLE, STEP, unit
from preprocessing.sources.stored_catalog import batch_keys
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy
from storage.settings import Settings

ASSET: Final = "identity_report"
WHOLE: Final = "whole"
CODE_VERSION: Final = "1"
REPORT_NAME: Final = "identity_report.json"
BLOCK: Final = 1024  # identities that are compared with all others at once


class IdentityReportSettings(Settings):
    """What counts as another person. ArcFace's cosines: about 0 of strangers, 0.5 and more of one person."""

    same_cosine: float = Field(
        default=0.5,
        ge=-1.0,
        le=1.0,
        description="Minimum cosine similarity of two identities' means that are reported as one person",
    )
    other_cosine: float = Field(
        default=0.25,
        ge=-1.0,
        le=1.0,
        description="Maximum cosine similarity of a frame or clip to its own clip or identity that is "
        "reported as another person",
    )
    largest_far_share: float = Field(
        default=0.2, ge=0.0, le=1.0, description="Maximum share of a clip's frames that may be another person"
    )


@dataclass(frozen=True)
class Embeddings:
    """Clips of all batches."""

    keys: tuple[str, ...]
    identities: tuple[str, ...]
    cosines: tuple[NDArray[np.float32], ...]  # of each clip's frames, as `cosines_with_middle`
    clips: NDArray[np.float32]  # [N, D] of length one


def run_identity_report(root: UPath, settings: IdentityReportSettings, *, force: bool = False) -> Published:
    """Make sure that the report over all batches that have embeddings is there and current.

    Raises:
        ValueError: no batch has any, or they are of different networks.
    """
    found = {key: published for key in batch_keys(root) if (published := current(root, STEP, key))}
    if not found:
        raise ValueError(f"no batch under {root} has {STEP} yet: materialise it of some batches first")
    inputs = {key: published.manifest.content_digest for key, published in found.items()}

    def build(folder: Path) -> BuildReport:
        return make_identity_report(
            {key: local_copy(one.directory) for key, one in found.items()}, settings, folder
        )

    return materialise(root, Recipe(ASSET, WHOLE, CODE_VERSION, settings, inputs), build, force=force)


def make_identity_report(
    batches: Mapping[str, Path], settings: IdentityReportSettings, folder: Path
) -> BuildReport:
    """Write `identity_report.json`.

    Args:
        batches: batch -> folder of its embeddings.
        settings: bounds.
        folder: where to write.

    Raises:
        ValueError: the batches' embeddings are of different networks.
    """
    labeller = _one_labeller(batches)
    embeddings = _read(batches)
    names = sorted(set(embeddings.identities))
    means = _means(embeddings, names)
    findings: dict[str, list[dict[str, Any]]] = {
        "clips_of_two_people": _clips_of_two(embeddings, settings),
        "clips_of_somebody_else": _strangers(embeddings, names, means, settings),
        "identities_of_one_person": _same_person(names, means, settings),
    }
    told = {"labeller": labeller, "settings": settings.model_dump(mode="json"), **findings}
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / REPORT_NAME).write_text(text + "\n", "utf-8")
    counts = {"batches": len(batches), "clips": len(embeddings.keys), "identities": len(names)}
    counts |= {name: len(rows) for name, rows in findings.items()}
    return BuildReport(counts=counts, refusals={})


def _one_labeller(batches: Mapping[str, Path]) -> str:
    by_labeller: dict[str, str] = {}
    for batch, folder in sorted(batches.items()):
        by_labeller.setdefault(read_who_labelled(folder)["identity"], batch)
    if len(by_labeller) > 1:
        told = " and ".join(f"of batch {batch} by {name!r}" for name, batch in sorted(by_labeller.items()))
        raise ValueError(f"embeddings {told} cannot be compared: make {STEP} again")
    return next(iter(by_labeller))


def _read(batches: Mapping[str, Path]) -> Embeddings:
    tables = [
        pq.read_table(folder / EMBEDDINGS_TABLE, schema=EMBEDDINGS_SCHEMA)
        for _, folder in sorted(batches.items())
    ]
    table = pa.concat_tables(tables).combine_chunks()
    return Embeddings(
        tuple(table["key"].to_pylist()),
        tuple(table["identity"].to_pylist()),
        tuple(np.asarray(row, np.float32) for row in table["cosines"].to_pylist()),
        np.asarray(table["embedding"].to_pylist(), np.float32).reshape(table.num_rows, -1),
    )


def _means(embeddings: Embeddings, names: list[str]) -> NDArray[np.float32]:
    """[identities, D] of length one."""
    places = np.searchsorted(names, embeddings.identities)
    sums = np.zeros((len(names), embeddings.clips.shape[1]), np.float32)
    np.add.at(sums, places, embeddings.clips)
    return np.stack([unit(row) for row in sums]) if len(sums) else sums


def _clips_of_two(embeddings: Embeddings, settings: IdentityReportSettings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for key, identity, cosines in zip(
        embeddings.keys, embeddings.identities, embeddings.cosines, strict=True
    ):
        share = float((cosines < settings.other_cosine).mean())
        if share > settings.largest_far_share:
            lowest = round(float(cosines.min()), 4)
            rows.append(
                {"key": key, "identity": identity, "far_share": round(share, 4), "lowest_cosine": lowest}
            )
    return rows


def _strangers(
    embeddings: Embeddings, names: list[str], means: NDArray[np.float32], settings: IdentityReportSettings
) -> list[dict[str, Any]]:
    """Clips that are unlike the other clips of their identity, and whom they are most like."""
    rows: list[dict[str, Any]] = []
    places = np.searchsorted(names, embeddings.identities)
    for number, (key, place) in enumerate(zip(embeddings.keys, places, strict=True)):
        others = np.flatnonzero(places == place)
        others = others[others != number]
        if not len(others):
            continue
        own = float(np.median(embeddings.clips[others] @ embeddings.clips[number]))
        if own < settings.other_cosine:
            cosines = means @ embeddings.clips[number]
            cosines[place] = -np.inf
            nearest = int(np.argmax(cosines))
            elsewhere = {"most_like": names[nearest], "cosine_there": round(float(cosines[nearest]), 4)}
            told = {"key": key, "identity": names[place], "cosine": round(own, 4)}
            rows.append(told | (elsewhere if len(names) > 1 else {}))
    return rows


def _same_person(
    names: list[str], means: NDArray[np.float32], settings: IdentityReportSettings
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(names), BLOCK):
        cosines = means[start : start + BLOCK] @ means.T
        for one, other in np.argwhere(cosines >= settings.same_cosine):
            if start + one < other:
                pair = [names[start + one], names[other]]
                rows.append({"identities": pair, "cosine": round(float(cosines[one, other]), 4)})
    return sorted(rows, key=lambda row: -row["cosine"])
