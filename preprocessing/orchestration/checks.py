"""Checks of a step's published files, as plain functions."""

import math
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.anchors.eye_anchors import EyeAnchorSettings, read_anchor_rows
from preprocessing.clips.store import read_clip_table
from preprocessing.labellers.failed_clips import read_failed
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, LABELS_TABLE, POSE_NAMES, read_labels
from storage.checks import CheckOutcome
from storage.publishing import Published, verify

MAXIMUM_REFUSED_SHARE: Final = 0.5  # more hints at a wrong threshold or unexpected data
MAXIMUM_HEAD_ANGLE_RAD: Final = math.radians(90.0)
MAXIMUM_SHIFT_CM: Final = 60.0  # farther from the crop's axis, the fit failed
MAXIMUM_GAZE_RAD: Final = math.radians(60.0)  # an eye turns by at most about 45 degrees


def check_refused_share(clips: Path) -> CheckOutcome:
    """At most half of the candidates were refused."""
    accepted = np.asarray(read_clip_table(clips)["accepted"])
    share = 1.0 - float(accepted.mean()) if len(accepted) else 0.0
    return CheckOutcome(
        share <= MAXIMUM_REFUSED_SHARE,
        f"{share:.0%} of {len(accepted)} candidates were refused, expected at most "
        f"{MAXIMUM_REFUSED_SHARE:.0%}; clips.parquet holds the reasons",
        {"refused_share": share, "candidates": len(accepted)},
    )


def check_clips_left_out(shards: Published) -> CheckOutcome:
    """The lip sync filter dropped at most half of the clips."""
    refusals = shards.manifest.refusals
    dropped = sum(refusals.values())
    clips = dropped + int(shards.manifest.counts["samples"])
    share = dropped / clips if clips else 0.0
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refusals.items())) or "none"
    return CheckOutcome(
        share <= MAXIMUM_REFUSED_SHARE,
        f"{share:.0%} of {clips} clips were dropped ({reasons}), expected at most "
        f"{MAXIMUM_REFUSED_SHARE:.0%}; are the thresholds of `shards.lip_sync` in the scorer's units?",
        {"refused_share": share, "clips": clips},
    )


def check_pose_in_range(pose_labels: Path) -> CheckOutcome:
    """Every pose is finite and plausible for a head in the crop."""
    pose = _stack(read_labels(pose_labels, POSE_NAMES), len(POSE_NAMES))
    bounds = [MAXIMUM_HEAD_ANGLE_RAD] * 3 + [MAXIMUM_SHIFT_CM] * 3
    return _check_bounds("pose", pose, np.array(bounds), POSE_NAMES)


def check_gaze_in_range(gaze_labels: Path) -> CheckOutcome:
    """Every gaze is plausible for an eye, every blink in 0 to 1."""
    names = GAZE_NAMES + BLINK_NAMES
    values = _stack(read_labels(gaze_labels, names), len(names))
    values[:, 2:] -= 0.5
    bounds = np.array([MAXIMUM_GAZE_RAD] * 2 + [0.5] * 2)
    return _check_bounds("gaze and blink", values, bounds, names)


def check_labels_complete(clips: Path, labels: Path) -> CheckOutcome:
    """Every frame of every accepted clip has one row of labels, except of clips recorded as failed."""
    failed = read_failed(labels)
    rows_of_clips = read_clip_table(clips).select(["key", "frames", "accepted"]).to_pylist()
    frames = sum(row["frames"] for row in rows_of_clips if row["accepted"] and row["key"] not in failed)
    rows = pq.read_metadata(labels / LABELS_TABLE).num_rows
    return CheckOutcome(rows == frames, f"{rows} rows for {frames} frames", {"rows": rows, "frames": frames})


def check_anchors_verified(eye_anchors: Path, settings: EyeAnchorSettings) -> CheckOutcome:
    """No accepted anchor exceeds a bound."""
    rows = read_anchor_rows(eye_anchors)
    worst_blink = max((row["blink_error"] for row in rows), default=0.0)
    worst_rest = max((row["rest_error_px"] for row in rows), default=0.0)
    passed = worst_blink <= settings.maximum_blink_error and worst_rest <= settings.maximum_rest_error_px
    return CheckOutcome(
        passed,
        f"{len(rows)} anchors; largest blink error {worst_blink:.2f} (bound {settings.maximum_blink_error}), "
        f"largest error of the rest {worst_rest:.2f} px (bound {settings.maximum_rest_error_px})",
        {"anchors": len(rows), "worst_blink_error": worst_blink, "worst_rest_error_px": worst_rest},
    )


def check_checksums(published: Published) -> CheckOutcome:
    """Every published file exists and has the sha256 of its manifest."""
    damaged = verify(published)
    files = len(published.manifest.files)
    description = (
        f"{files} files match the manifest" if not damaged else f"damaged or missing: {', '.join(damaged)}"
    )
    return CheckOutcome(not damaged, description, {"files": files, "damaged": len(damaged)})


def _stack(labels: dict[str, NDArray[np.float32]], width: int) -> NDArray[np.float64]:
    parts = [np.zeros((0, width)), *labels.values()]
    return np.concatenate(parts).astype(np.float64)


def _check_bounds(
    what: str, values: NDArray[np.float64], bounds: NDArray[np.float64], names: tuple[str, ...]
) -> CheckOutcome:
    wrong = ~np.isfinite(values) | (np.abs(values) > bounds)
    columns = [name for name, column in zip(names, wrong.T, strict=True) if column.any()]
    description = f"{len(values)} frames, {what} in range"
    if columns:
        description = (
            f"{int(wrong.any(axis=1).sum())} of {len(values)} frames out of range in {', '.join(columns)}"
        )
    return CheckOutcome(
        not columns, description, {"frames": len(values), "wrong": float(wrong.any(axis=1).sum())}
    )
