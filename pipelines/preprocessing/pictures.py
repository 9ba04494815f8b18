"""Pictures of what a step has built, drawn once and stored under `<root>/pictures`.

They are shown in the UI only and may be deleted at any time.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dagster import MetadataValue

from pipelines.preprocessing.batch_builds import BatchBuilds
from pipelines.web.locations import PICTURES, build_location, picture_at
from preprocessing.clips.store import read_clip_table
from preprocessing.pictures.anchor_sheet import draw_anchor_sheet, draw_refused_anchor_sheet
from preprocessing.pictures.gaze_sheet import draw_gaze_sheet
from preprocessing.pictures.histograms import (
    draw_clip_scores,
    draw_gaze_angles,
    draw_lip_sync,
    draw_pose_angles,
    draw_refusals,
)
from preprocessing.pictures.mesh_sheet import draw_candidate_sheet, draw_contact_sheet
from preprocessing.pictures.pose_sheet import draw_pose_sheet
from preprocessing.pictures.refused_sheet import draw_refused_sheet
from storage.fingerprint import DIGEST_DIGITS, fingerprint
from storage.objects import entries, write_bytes
from storage.publishing import Published

DRAWING_VERSION: Final = 2  # raise it when a picture is drawn otherwise

Draw = Callable[[BatchBuilds], bytes]


def _draw_refusals(builds: BatchBuilds) -> bytes:
    reasons = read_clip_table(builds.folder("clips"))["reason"].to_pylist()
    refused = Counter(reason for reason in reasons if reason)
    return draw_refusals(refused, kept=len(reasons) - refused.total())


# Step -> title -> (steps whose files are read, function that draws).
DRAWINGS: Final[Mapping[str, Mapping[str, tuple[tuple[str, ...], Draw]]]] = {
    "face_tracks": {
        "candidates": (
            ("face_tracks",),
            lambda builds: draw_candidate_sheet(builds.folder("face_tracks")),
        ),
    },
    "clips": {
        "contact sheet": (("clips",), lambda builds: draw_contact_sheet(builds.folder("clips"))),
        "scores and thresholds": (
            ("clips",),
            lambda builds: draw_clip_scores(builds.folder("clips"), builds.settings.clips),
        ),
        "refusals": (("clips",), _draw_refusals),
        "refused, nearest to the bound": (
            ("clips", "face_tracks"),
            lambda builds: draw_refused_sheet(builds.folder("clips"), builds.folder("face_tracks")),
        ),
    },
    "pose_labels": {
        "head axes": (
            ("clips", "pose_labels"),
            lambda builds: draw_pose_sheet(builds.folder("clips"), builds.folder("pose_labels")),
        ),
        "pose angles": (("pose_labels",), lambda builds: draw_pose_angles(builds.folder("pose_labels"))),
    },
    "gaze_labels": {
        "gaze and blinks": (
            ("clips", "pose_labels", "gaze_labels"),
            lambda builds: draw_gaze_sheet(
                builds.folder("clips"), builds.folder("pose_labels"), builds.folder("gaze_labels")
            ),
        ),
        "gaze angles": (("gaze_labels",), lambda builds: draw_gaze_angles(builds.folder("gaze_labels"))),
    },
    "lip_sync_scores": {
        "lip sync": (("lip_sync_scores",), lambda builds: draw_lip_sync(builds.folder("lip_sync_scores"))),
    },
    "eye_anchors": {
        "anchors": (
            ("clips", "eye_anchors"),
            lambda builds: draw_anchor_sheet(
                builds.folder("clips"), builds.folder("eye_anchors"), builds.settings.eye_anchors
            ),
        ),
        "refused, nearest to the bound": (
            ("clips", "eye_anchors"),
            lambda builds: draw_refused_anchor_sheet(
                builds.folder("clips"), builds.folder("eye_anchors"), builds.settings.eye_anchors
            ),
        ),
    },
}


def step_pictures(builds: BatchBuilds, step: str) -> dict[str, MetadataValue]:
    """The pictures of a step by title, drawn unless they are stored."""
    pictures: dict[str, MetadataValue] = {}
    for title, (reads, draw) in DRAWINGS.get(step, {}).items():
        contents = [builds.published(name).manifest.content_digest for name in reads]
        digest = fingerprint([contents, builds.settings, DRAWING_VERSION])[:DIGEST_DIGITS]
        name = f"{title.replace(',', '').replace(' ', '_')}-{digest}.jpg"
        location = f"{PICTURES}/{step}/{builds.batch}/{name}"
        if not (builds.root / location).exists():
            write_bytes(builds.root / location, draw(builds))
        pictures[f"picture: {title}"] = picture_at(location)
    return pictures


def dataset_pictures(published: Published) -> dict[str, MetadataValue]:
    """The pictures of the data set card, by file name."""
    names = [entry.name for entry in entries(published.directory, "pictures")]
    return {
        f"picture: {Path(name).stem.replace('_', ' ')}": picture_at(
            build_location(published, f"pictures/{name}")
        )
        for name in names
    }
