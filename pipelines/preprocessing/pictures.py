"""Pictures of what a step made, drawn once and kept under `<root>/pictures`.

They are views, no data: nothing reads them but a person, and they may be deleted at any time.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dagster import MetadataValue
from upath import UPath

from pipelines.metadata import picture
from preprocessing.clips.store import read_clip_table
from preprocessing.dataset.index import DATASET, WHOLE
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.pictures.anchor_sheet import draw_anchor_sheet
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
from storage.fingerprint import fingerprint
from storage.publishing import Published, current
from storage.root import local_copy
from storage.transfer import read_bytes, write_bytes

Draw = Callable[[Mapping[str, Path], PreprocessingSettings], bytes]


def _clip_refusals(folders: Mapping[str, Path], _: PreprocessingSettings) -> bytes:
    reasons = read_clip_table(folders["clips"])["reason"].to_pylist()
    refused = Counter(reason for reason in reasons if reason)
    return draw_refusals(refused, kept=len(reasons) - refused.total())


# Step -> title -> (steps whose folders are read, drawing).
DRAWINGS: Final[Mapping[str, Mapping[str, tuple[tuple[str, ...], Draw]]]] = {
    "face_tracks": {
        "candidates": (("face_tracks",), lambda made, _: draw_candidate_sheet(made["face_tracks"])),
    },
    "clips": {
        "contact sheet": (("clips",), lambda made, _: draw_contact_sheet(made["clips"])),
        "scores and thresholds": (
            ("clips",),
            lambda made, settings: draw_clip_scores(made["clips"], settings.clips),
        ),
        "refusals": (("clips",), _clip_refusals),
    },
    "pose_labels": {
        "head axes": (
            ("clips", "pose_labels"),
            lambda made, _: draw_pose_sheet(made["clips"], made["pose_labels"]),
        ),
        "pose angles": (("pose_labels",), lambda made, _: draw_pose_angles(made["pose_labels"])),
    },
    "gaze_labels": {
        "gaze and blinks": (
            ("clips", "pose_labels", "gaze_labels"),
            lambda made, _: draw_gaze_sheet(made["clips"], made["pose_labels"], made["gaze_labels"]),
        ),
        "gaze angles": (("gaze_labels",), lambda made, _: draw_gaze_angles(made["gaze_labels"])),
    },
    "lip_sync_scores": {
        "lip sync": (("lip_sync_scores",), lambda made, _: draw_lip_sync(made["lip_sync_scores"])),
    },
    "eye_anchors": {
        "anchors": (
            ("clips", "eye_anchors"),
            lambda made, settings: draw_anchor_sheet(
                made["clips"], made["eye_anchors"], settings.eye_anchors
            ),
        ),
    },
    "shards": {},
}


def step_pictures(
    root: UPath, step: str, batch: str, settings: PreprocessingSettings
) -> dict[str, MetadataValue]:
    """Pictures of a batch's step by title."""
    pictures: dict[str, MetadataValue] = {}
    for title, (reads, draw) in DRAWINGS.get(step, {}).items():
        made = {name: _made(root, name, batch) for name in reads}
        contents = [published.manifest.content_digest for published in made.values()]
        drawn_from = fingerprint([contents, settings])[:16]
        place = root / "pictures" / step / batch / f"{title.replace(' ', '_')}-{drawn_from}.jpg"
        try:
            data = read_bytes(place)
        except FileNotFoundError:
            folders = {name: local_copy(published.directory) for name, published in made.items()}
            data = draw(folders, settings)
            write_bytes(place, data)
        pictures[f"picture: {title}"] = picture(data)
    return pictures


def dataset_pictures(root: UPath) -> dict[str, MetadataValue]:
    """The pictures of the dataset card, by file name."""
    folder = local_copy(_made(root, DATASET, WHOLE).directory) / "pictures"
    return {
        f"picture: {path.stem.replace('_', ' ')}": picture(path.read_bytes())
        for path in sorted(folder.glob("*.*"))
    }


def _made(root: UPath, step: str, batch: str) -> Published:
    published = current(root, step, batch)
    if published is None:
        raise ValueError(f"{step} of {batch} is not made yet, so there is nothing to show")
    return published
