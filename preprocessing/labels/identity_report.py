"""Mixed-up identities: clips of two people, clips of another person, one person under two names.

Reads the identity embeddings of every batch that has them, and changes nothing. Each finding is a row with
its cosine. The thresholds are settings and have not been measured for any weights.
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

from preprocessing.dataset.index import WHOLE
from preprocessing.labellers.backend import read_labellers
from preprocessing.labels.identity import EMBEDDINGS_SCHEMA, EMBEDDINGS_TABLE, unit
from preprocessing.labels.identity import STEP as EMBEDDINGS
from preprocessing.sources.stored_catalog import batch_keys
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy
from storage.settings import Settings

ASSET: Final = "identity_report"
CODE_VERSION: Final = "1"
REPORT_NAME: Final = "identity_report.json"
BLOCK: Final = 1024  # identities compared with all others at once


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
    cosines: tuple[NDArray[np.float32], ...]  # of each clip's frames (`cosines_with_central_frame`)
    clips: NDArray[np.float32]  # [N, D] of length one


def run_identity_report(root: UPath, settings: IdentityReportSettings, *, force: bool = False) -> Published:
    """Publish the report over all batches that have embeddings, unless it is current.

    Raises:
        ValueError: no batch has embeddings, or they are of different networks.
    """
    batches = {
        key: published for key in batch_keys(root) if (published := current(root, EMBEDDINGS.name, key))
    }
    if not batches:
        raise ValueError(f"no batch under {root} has {EMBEDDINGS.name} yet: materialize it for some batches")
    inputs = {key: published.as_input(build_only=True) for key, published in batches.items()}

    def build(folder: Path) -> BuildReport:
        folders = {key: local_copy(published.directory) for key, published in batches.items()}
        return make_identity_report(folders, settings, folder)

    return materialise(root, Recipe(ASSET, WHOLE, CODE_VERSION, settings, inputs), build, force=force)


def make_identity_report(
    batches: Mapping[str, Path], settings: IdentityReportSettings, folder: Path
) -> BuildReport:
    """Write `identity_report.json`.

    Args:
        batches: batch -> folder of its embeddings.
        settings: thresholds.
        folder: where to write.

    Raises:
        ValueError: the batches' embeddings are of different networks.
    """
    labeller = _common_labeller(batches)
    embeddings = _read(batches)
    names = sorted(set(embeddings.identities))
    means = _means(embeddings, names)
    findings: dict[str, list[dict[str, Any]]] = {
        "clips_of_two_people": _clips_of_two(embeddings, settings),
        "clips_of_somebody_else": _clips_of_others(embeddings, names, means, settings),
        "identities_of_one_person": _same_person(names, means, settings),
    }
    report = {"labeller": labeller, "settings": settings.model_dump(mode="json"), **findings}
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / REPORT_NAME).write_text(text + "\n", "utf-8")
    counts = {"batches": len(batches), "clips": len(embeddings.keys), "identities": len(names)}
    counts |= {name: len(rows) for name, rows in findings.items()}
    return BuildReport(counts=counts, refusals={})


def _common_labeller(batches: Mapping[str, Path]) -> str:
    by_labeller: dict[str, str] = {}
    for batch, folder in sorted(batches.items()):
        by_labeller.setdefault(read_labellers(folder)["identity"], batch)
    if len(by_labeller) > 1:
        names = " and ".join(f"{name!r} (batch {batch})" for name, batch in sorted(by_labeller.items()))
        raise ValueError(f"embeddings of different networks: {names}; build {EMBEDDINGS.name} again by one")
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
    """[identities, D] means, of length one."""
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


def _clips_of_others(
    embeddings: Embeddings, names: list[str], means: NDArray[np.float32], settings: IdentityReportSettings
) -> list[dict[str, Any]]:
    """Clips unlike the other clips of their identity, with the identity that they are most like."""
    rows: list[dict[str, Any]] = []
    places = np.searchsorted(names, embeddings.identities)
    for index, (key, place) in enumerate(zip(embeddings.keys, places, strict=True)):
        others = np.flatnonzero(places == place)
        others = others[others != index]
        if not len(others):
            continue
        own = float(np.median(embeddings.clips[others] @ embeddings.clips[index]))
        if own < settings.other_cosine:
            cosines = means @ embeddings.clips[index]
            cosines[place] = -np.inf
            nearest = int(np.argmax(cosines))
            row: dict[str, Any] = {"key": key, "identity": names[place], "cosine": round(own, 4)}
            if len(names) > 1:
                row |= {"most_like": names[nearest], "most_like_cosine": round(float(cosines[nearest]), 4)}
            rows.append(row)
    return rows


def _same_person(
    names: list[str], means: NDArray[np.float32], settings: IdentityReportSettings
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(names), BLOCK):
        cosines = means[start : start + BLOCK] @ means.T
        for first, second in np.argwhere(cosines >= settings.same_cosine):
            if start + first < second:
                pair = [names[start + first], names[second]]
                rows.append({"identities": pair, "cosine": round(float(cosines[first, second]), 4)})
    return sorted(rows, key=lambda row: -row["cosine"])
