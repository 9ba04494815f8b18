"""What an asset returns and shows in the UI: counts, refusals, costs, columns."""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa
from dagster import MaterializeResult, MetadataValue, TableColumn, TableSchema

from pipelines.web.locations import build_link, clip_address
from preprocessing.orchestration.chosen_settings import Changes
from preprocessing.orchestration.costs import StepCost, step_cost
from preprocessing.orchestration.refusals import Refusal
from storage.fingerprint import DIGEST_DIGITS
from storage.printable import display_text
from storage.publishing import Published

# Dagster recognises only the bare class as an annotation; type checkers need its parameter.
if TYPE_CHECKING:
    AssetResult: TypeAlias = MaterializeResult[object]
else:
    AssetResult = MaterializeResult

REASONS_SHOWN: Final = 4
REFUSED_SHOWN: Final = 20
NAME_CHARACTERS: Final = 26  # of a file in a table: a longer one would be cut off at 1440 px
ROWS: Final = {
    "face_tracks": "candidates",
    "clips": "candidates",
    "pose_labels": "frames",
    "gaze_labels": "frames",
    "lip_sync_scores": "clips",
    "eye_anchors": "composites",
    "shards": "samples",
    "dataset": "samples",
}
"""The count that is the number of rows of an asset's main table."""
UNITS: Final = {"bytes": "size (bytes)", "seconds_of_video": "duration (s)", "hours": "duration (h)"}


def published_metadata(published: Published, refused: Iterable[Refusal] = ()) -> dict[str, Any]:
    """Metadata of a published build: why it was built, counts, refusals, costs, location.

    The first of `refused` are listed.
    """
    manifest = published.manifest
    metadata: dict[str, Any] = {"build": build_reason(published)}
    if (rows := manifest.counts.get(ROWS.get(manifest.asset, ""))) is not None:
        metadata["dagster/row_count"] = int(rows)
    metadata |= {_title(name): rounded(value) for name, value in manifest.counts.items()}
    cost = step_cost(manifest)
    metadata["refused"] = sum(manifest.refusals.values())
    if cost.refused_share is not None:
        metadata["refused share"] = rounded(cost.refused_share)
    if metadata["refused"]:
        metadata["refusals by reason"] = refusal_table(manifest.refusals)
    metadata |= first_refused(refused)
    return metadata | _costs(cost) | location_metadata(published)


def rounded(value: float) -> float:
    """A count as it is; another number to four significant digits, and at least to a whole one."""
    return value if isinstance(value, int) or not math.isfinite(value) else _four_digits(value)


def _four_digits(value: float) -> float:
    return round(value) if abs(value) >= 10_000 else float(f"{value:.4g}")


def _title(count: str) -> str:
    """The name of a count as it is shown: with its unit."""
    return UNITS.get(count, count.replace("_", " "))


def settings_metadata(changes: Changes) -> dict[str, Any]:
    """The settings of a build that are not the deployment's."""
    lines = changes_text(changes).split("; ")
    shown = "\n".join(f"- {line}" for line in lines) if changes else "those of the deployment"
    return {"settings": MetadataValue.md(shown)}


def changes_text(changes: Changes) -> str:
    """Changed settings on one line: ``clips.minimum_face_size_px: 200; …``."""
    return "; ".join(f"{name}: {json.dumps(value)}" for name, value in changes.items())


def _costs(cost: StepCost) -> dict[str, Any]:
    """Numbers, so that Dagster plots them over time."""
    values: dict[str, float | None] = {
        "seconds": cost.seconds,
        "CPU seconds": cost.cpu_seconds,
        "frames per second": cost.frames_per_second,
        "CPU milliseconds per frame": cost.cpu_milliseconds_per_frame,
        "peak memory (MiB)": cost.peak_memory_mebibytes or None,
    }
    return {name: rounded(value) for name, value in values.items() if value is not None}


def location_metadata(published: Published) -> dict[str, Any]:
    """The folder, fingerprint and content digest of a build."""
    return {
        "folder": build_link(published),
        "fingerprint": published.manifest.fingerprint[:DIGEST_DIGITS],
        "content": published.manifest.content_digest[:DIGEST_DIGITS],
    }


def build_reason(published: Published) -> str:
    """Why it was built, or that there was nothing to do; the first of many reasons."""
    if not published.built:
        return published.reason
    reasons = f"built: {published.reason}".split("; ")
    more = f"; and {len(reasons) - REASONS_SHOWN} more" if len(reasons) > REASONS_SHOWN else ""
    return "; ".join(reasons[:REASONS_SHOWN]) + more


def refusal_table(refusals: Mapping[str, int]) -> MetadataValue:
    """Counts by reason, most frequent first."""
    rows = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))
    lines = ["| reason | count |", "|---|---:|", *(f"| {reason} | {count} |" for reason, count in rows)]
    return MetadataValue.md("\n".join(lines))


def first_refused(refused: Iterable[Refusal]) -> dict[str, MetadataValue]:
    """A table of the first refused: reason, score against the bound, file and time."""
    first = [*islice(refused, REFUSED_SHOWN)]
    if not first:
        return {}
    lines = [
        f"| {_cell(each.reason)} | {_number(each.score)} | {_bound(each)} | {_place(each)} |"
        for each in first
    ]
    head = ["| reason | score | bound | where |", "|---|---:|---:|---|"]
    all_of_them = f"pdfgc refused --step {first[0].step}"
    more = [f"\nThe first {REFUSED_SHOWN}; all: `{all_of_them}`."] if len(first) == REFUSED_SHOWN else []
    return {"refused, the first": MetadataValue.md("\n".join([*head, *lines, *more]))}


def _bound(refusal: Refusal) -> str:
    """The bound with its unit, or the unit of a score that has none."""
    return f"{_number(refusal.bound)} {_cell(refusal.unit)}".strip()


def _place(refusal: Refusal) -> str:
    """File, time and explanation; the file of a clip is a link to the gallery."""
    name = _cell(shortened(refusal.file, NAME_CHARACTERS))
    if refusal.key:
        name = f"[{name}]({clip_address(refusal.batch, refusal.key)})"
    time = "" if refusal.start_seconds is None else f" at {refusal.start_seconds:.2f} s"
    return f"{name}{time}{f'; {_cell(refusal.detail)}' if refusal.detail else ''}"


def shortened(text: str, characters: int) -> str:
    """A text of at most so many characters, with its middle left out: a table in the UI is narrow."""
    if len(text) <= characters:
        return text
    start = (characters - 1) // 2
    return f"{text[:start]}…{text[len(text) - characters + 1 + start :]}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table, with nothing that Markdown or HTML would read."""
    escaped = html.escape(display_text(text), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)


def column_schema(schema: pa.Schema) -> TableSchema:
    """The columns of a table, with their descriptions, as Dagster shows them."""
    columns = []
    for column in schema:
        description = (column.metadata or {}).get(b"description", b"").decode()
        columns.append(TableColumn(column.name, str(column.type), description))
    return TableSchema(columns)
