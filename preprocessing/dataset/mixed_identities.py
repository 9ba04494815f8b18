"""Who may be mixed up, by what is stored: copies of a recording, one person twice, strangers under one name.

Reads the last data set and the last `identity_report`; measures nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.dataset.index import DATASET, WHOLE
from preprocessing.dataset.near_duplicates import NEAR_DUPLICATES_SCHEMA, NEAR_DUPLICATES_TABLE
from preprocessing.labels.identity_report import ASSET as IDENTITY_REPORT
from preprocessing.labels.identity_report import REPORT_NAME
from preprocessing.sources.catalog import ACCEPTED
from preprocessing.sources.stored_catalog import load_catalog
from storage.objects import read_bytes
from storage.publishing import Published, current

EXAMPLES: Final = 5
JOIN_SETTING: Final = "PDFGC__DATASET__SPLITS__ONE_PERSON"


@dataclass(frozen=True)
class Finding:
    """Mixed-up identities of one kind."""

    title: str
    examples: tuple[str, ...]  # the first few
    remedy: str


def read_findings(root: UPath) -> list[Finding]:
    """Everything found in the data set and the identity report that are published; [] if there is neither."""
    dataset, report = current(root, DATASET, WHOLE), current(root, IDENTITY_REPORT, WHOLE)
    found = [] if dataset is None else copies_of(root, dataset)
    return (
        found
        if report is None
        else [*found, *suspects_of(json.loads(read_bytes(report.directory / REPORT_NAME)))]
    )


def copies_of(root: UPath, dataset: Published) -> list[Finding]:
    """Videos of one recording, with their files and names."""
    if not dataset.manifest.counts.get("near_duplicates"):
        return []
    stored = pa.BufferReader(read_bytes(dataset.directory / NEAR_DUPLICATES_TABLE))
    rows = pq.read_table(stored, schema=NEAR_DUPLICATES_SCHEMA).to_pylist()
    known = _files(root, {row[name] for row in rows for name in ("video_id", "other_video_id")})
    pairs = [(row, known.get(row["video_id"]), known.get(row["other_video_id"])) for row in rows]
    two_names = [(one[1], other[1]) for _, one, other in pairs if one and other and one[1] != other[1]]
    title = f"{_count(len(rows), 'pair')} of videos hold the same recording"
    if two_names:
        title += f", {len(two_names)} of them under two names"
    examples = tuple(
        f"{_shown(one, row['video_id'])} and {_shown(other, row['other_video_id'])}: "
        f"{row['seconds']:.1f} s by {row['found_by']}"
        for row, one, other in pairs[:EXAMPLES]
    )
    remedy = (
        "They share a split unless join_near_duplicates is off. To have a recording once, remove one file"
    )
    if two_names:
        remedy += f"; to keep all videos of both names in one split: {join_setting(two_names)}"
    return [Finding(title, examples, remedy)]


def suspects_of(report: Mapping[str, Any]) -> list[Finding]:
    """What an identity report lists, by kind."""
    findings: list[Finding] = []
    if same := report["identities_of_one_person"]:
        pairs = [(row["identities"][0], row["identities"][1]) for row in same]
        examples = tuple(
            f"{one} and {other}: cosine {row['cosine']:.2f}"
            for row, (one, other) in zip(same, pairs, strict=True)
        )
        remedy = f"If they are one person, keep the names in one split: {join_setting(pairs)}"
        findings.append(
            Finding(f"{_count(len(same), 'pair')} of names look like one person", examples[:EXAMPLES], remedy)
        )
    if others := report["clips_of_somebody_else"]:
        examples = tuple(
            f"{row['key']}, {row['identity']}: cosine {row['cosine']:.2f}"
            + (
                f", most like {row['most_like']} ({row['most_like_cosine']:.2f})"
                if "most_like" in row
                else ""
            )
            for row in others[:EXAMPLES]
        )
        remedy = "If they are strangers, give their videos a folder (or an identity in the list) of their own"
        title = f"{_count(len(others), 'clip')} unlike the other clips under the same name"
        findings.append(Finding(title, examples, remedy))
    if two := report["clips_of_two_people"]:
        examples = tuple(
            f"{row['key']}, {row['identity']}: {row['far_share']:.0%} of the frames unlike the rest"
            for row in two[:EXAMPLES]
        )
        remedy = "Look at them in the gallery; a list of sources with start and end leaves a stretch out"
        findings.append(Finding(f"{_count(len(two), 'clip')} may show two people", examples, remedy))
    return findings


def join_setting(pairs: Sequence[tuple[str, str]]) -> str:
    """The setting that keeps the first pairs of names in one split."""
    first = list(dict.fromkeys(pairs))[:EXAMPLES]
    return f'{JOIN_SETTING}="{"; ".join(f"{one} = {other}" for one, other in first)}"'


def _files(root: UPath, video_ids: set[str]) -> dict[str, tuple[str, str]]:
    """File and identity by video id."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    wanted = pc.field("video_id").isin(sorted(video_ids)) & (pc.field("status") == ACCEPTED)
    rows = catalog.filter(wanted).select(["video_id", "relative_path", "identity"]).to_pylist()
    return {row["video_id"]: (row["relative_path"], row["identity"]) for row in rows}


def _shown(file: tuple[str, str] | None, video_id: str) -> str:
    return video_id if file is None else f"{file[0]} ({file[1]})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
