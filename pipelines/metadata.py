"""What an asset shows in the UI: figures, refusals, times, and pictures."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from dagster import MetadataValue

from preprocessing.orchestration.costs import StepCost, step_cost
from storage.publishing import Published

REASONS_SHOWN: Final = 4


def published_metadata(published: Published) -> dict[str, Any]:
    """Metadata of what a step published: first what happened, then the counts, then the costs."""
    manifest = published.manifest
    metadata: dict[str, Any] = {"what happened": what_happened(published)}
    metadata |= {name.replace("_", " "): value for name, value in manifest.counts.items()}
    cost = step_cost(manifest)
    metadata["refused"] = sum(manifest.refusals.values())
    if cost.refused_share is not None:
        metadata["refused share"] = round(cost.refused_share, 4)
    if metadata["refused"]:
        metadata["refusals by reason"] = refusal_table(manifest.refusals)
    return metadata | _costs(cost) | _whereabouts(published)


def _costs(cost: StepCost) -> dict[str, Any]:
    """Numbers, so that Dagster plots them over time."""
    told: dict[str, float | None] = {
        "seconds": cost.seconds,
        "CPU seconds": cost.cpu_seconds,
        "frames per second": cost.frames_per_second,
        "CPU milliseconds per frame": cost.cpu_milliseconds_per_frame,
        "peak memory (MiB)": cost.peak_memory_mebibytes or None,
    }
    return {name: round(value, 3) for name, value in told.items() if value is not None}


def _whereabouts(published: Published) -> dict[str, Any]:
    return {
        "folder": MetadataValue.path(str(published.directory)),
        "fingerprint": published.manifest.fingerprint[:16],
        "content": published.manifest.content_digest[:16],
    }


def what_happened(published: Published) -> str:
    """Made and why, or that there was nothing to do; the first few of many changes."""
    if not published.built:
        return published.reason
    changes = f"made: {published.reason}".split("; ")
    more = f"; and {len(changes) - REASONS_SHOWN} more" if len(changes) > REASONS_SHOWN else ""
    return "; ".join(changes[:REASONS_SHOWN]) + more


def refusal_table(refusals: Mapping[str, int]) -> MetadataValue:
    """Counts by reason, most frequent first."""
    rows = sorted(refusals.items(), key=lambda item: (-item[1], item[0]))
    lines = ["| reason | count |", "|---|---:|", *(f"| {reason} | {count} |" for reason, count in rows)]
    return MetadataValue.md("\n".join(lines))


def picture(data: bytes) -> MetadataValue:
    """A JPEG or PNG that the UI shows inline."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return MetadataValue.md(f"![picture](data:image/{kind};base64,{base64.b64encode(data).decode()})")
