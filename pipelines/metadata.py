"""What an asset returns and shows in the UI: counts, refusals, costs, pictures, columns."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa
from dagster import MaterializeResult, MetadataValue, TableColumn, TableSchema

from preprocessing.orchestration.costs import StepCost, step_cost
from storage.fingerprint import DIGEST_DIGITS
from storage.publishing import Published

# Dagster recognises only the bare class as an annotation; type checkers need its parameter.
if TYPE_CHECKING:
    AssetResult: TypeAlias = MaterializeResult[object]
else:
    AssetResult = MaterializeResult

REASONS_SHOWN: Final = 4


def published_metadata(published: Published) -> dict[str, Any]:
    """Metadata of a published build: why it was built, counts, refusals, costs, location."""
    manifest = published.manifest
    metadata: dict[str, Any] = {"build": build_reason(published)}
    metadata |= {name.replace("_", " "): value for name, value in manifest.counts.items()}
    cost = step_cost(manifest)
    metadata["refused"] = sum(manifest.refusals.values())
    if cost.refused_share is not None:
        metadata["refused share"] = round(cost.refused_share, 4)
    if metadata["refused"]:
        metadata["refusals by reason"] = refusal_table(manifest.refusals)
    return metadata | _costs(cost) | location_metadata(published)


def _costs(cost: StepCost) -> dict[str, Any]:
    """Numbers, so that Dagster plots them over time."""
    values: dict[str, float | None] = {
        "seconds": cost.seconds,
        "CPU seconds": cost.cpu_seconds,
        "frames per second": cost.frames_per_second,
        "CPU milliseconds per frame": cost.cpu_milliseconds_per_frame,
        "peak memory (MiB)": cost.peak_memory_mebibytes or None,
    }
    return {name: round(value, 3) for name, value in values.items() if value is not None}


def location_metadata(published: Published) -> dict[str, Any]:
    """The folder, fingerprint and content digest of a build."""
    return {
        "folder": MetadataValue.path(str(published.directory)),
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


def picture(data: bytes) -> MetadataValue:
    """A JPEG or PNG that the UI shows inline."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return MetadataValue.md(f"![picture](data:image/{kind};base64,{base64.b64encode(data).decode()})")


def column_schema(schema: pa.Schema) -> TableSchema:
    """The columns of a table, with their descriptions, as Dagster shows them."""
    columns = []
    for column in schema:
        description = (column.metadata or {}).get(b"description", b"").decode()
        columns.append(TableColumn(column.name, str(column.type), description))
    return TableSchema(columns)
