"""Pictures of what a step made, drawn once and kept under `<root>/pictures`.

They are views, no data: nothing reads them but a person, and they may be deleted at any time.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dagster._core.definitions.metadata import RawMetadataValue
from upath import UPath

from pipelines.metadata import picture
from preprocessing.pictures.anchor_sheet import draw_anchor_sheet
from preprocessing.pictures.contact_sheet import draw_candidate_sheet, draw_contact_sheet
from preprocessing.pictures.gaze_sheet import draw_gaze_sheet
from preprocessing.pictures.pose_sheet import draw_pose_sheet
from preprocessing.whole_dataset import DATASET, WHOLE
from storage.publishing import Published, current
from storage.root import local_copy
from storage.transfer import read_bytes, write_bytes

Folders = Mapping[str, Path]

# Per step: title -> (steps whose folders are read, drawing).
DRAWINGS: Final[Mapping[str, Mapping[str, tuple[tuple[str, ...], Callable[..., bytes]]]]] = {
    "face_tracks": {"candidates": (("face_tracks",), draw_candidate_sheet)},
    "clips": {"contact sheet": (("clips",), draw_contact_sheet)},
    "pose_labels": {"head pose": (("clips", "pose_labels"), draw_pose_sheet)},
    "gaze_labels": {"gaze and blinks": (("clips", "pose_labels", "gaze_labels"), draw_gaze_sheet)},
    "lip_sync_scores": {},
    "eye_anchors": {"anchors: v1, v2, anchor": (("clips", "eye_anchors"), draw_anchor_sheet)},
    "shards": {},
}


def step_pictures(root: UPath, step: str, batch: str) -> dict[str, RawMetadataValue]:
    """Pictures of a batch's step by title."""
    pictures: dict[str, RawMetadataValue] = {}
    for title, (reads, draw) in DRAWINGS[step].items():
        made = [_made(root, name, batch) for name in reads]

        def draw_now(made: list[Published] = made, draw: Callable[..., bytes] = draw) -> bytes:
            return draw(*(local_copy(published.directory) for published in made))

        pictures[title] = picture(_kept(root, step, batch, title, made, draw_now))
    return pictures


def dataset_pictures(root: UPath) -> dict[str, RawMetadataValue]:
    """The pictures of the dataset card, by file name."""
    folder = local_copy(_made(root, DATASET, WHOLE).directory) / "pictures"
    return {path.stem.replace("_", " "): picture(path.read_bytes()) for path in sorted(folder.glob("*.*"))}


def _kept(
    root: UPath, step: str, batch: str, title: str, made: list[Published], draw: Callable[[], bytes]
) -> bytes:
    content = "-".join(published.manifest.content_digest[:8] for published in made)
    place = root / "pictures" / step / batch / f"{title.split(':')[0].replace(' ', '_')}-{content}.jpg"
    try:
        return read_bytes(place)
    except FileNotFoundError:
        data = draw()
        write_bytes(place, data)
        return data


def _made(root: UPath, step: str, batch: str) -> Published:
    published = current(root, step, batch)
    if published is None:
        raise ValueError(f"{step} of {batch} is not made yet, so there is nothing to show")
    return published
