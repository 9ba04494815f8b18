"""How near the labels come to the truth on the demo corpus, and how steady they are on any clips.

Reads what the steps published under a root; makes nothing anew. Where a source video has its truth
beside it (the demo corpus), errors are told; for all clips, plausibility: the jitter between
neighbouring frames and how well the two eyes agree.

    python -m benchmarks.label_accuracy ROOT [--json FILE]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import show, write_json
from demo_corpus.truth import (
    BLINK_COLUMNS,
    GAZE_COLUMNS,
    POSE_COLUMNS,
    filming_camera,
    pose_in_crop,
    read_truth,
)
from preprocessing.clips.store import read_clips
from preprocessing.faces.frame_of_reference import direction_from_gaze
from preprocessing.labellers.mouth_opening import measure_mouth_opening
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.schema import Clip
from preprocessing.sources.stored_catalog import batch_keys, load_batch
from storage.publishing import Published, current
from storage.root import local_copy, open_root

Array = NDArray[np.float64]
OPEN_EYE = 0.5  # gaze is compared where the true blink stays below


@dataclass(frozen=True)
class Labelled:
    """One clip with what the labellers said of it."""

    clip: Clip
    source: Path
    pose: Array  # [T, 6]
    gaze: Array  # [T, 2]
    blink: Array  # [T, 2]
    mouth: Array  # [T]


def labelled_clips(location: Path) -> Iterator[Labelled]:
    """Every accepted clip of every batch."""
    root = open_root(str(location))
    for key in batch_keys(root):
        sources = {video.video_id: Path(str(video.path)) for video in load_batch(root, key).videos}
        made = {name: current(root, name, key) for name in ("clips", "pose_labels", "gaze_labels")}
        folders = {name: _folder(name, published) for name, published in made.items()}
        pose = read_labels(folders["pose_labels"], POSE_NAMES)
        gaze = read_labels(folders["gaze_labels"], GAZE_NAMES)
        blink = read_labels(folders["gaze_labels"], BLINK_NAMES)
        for clip in read_clips(folders["clips"]):
            mouth = measure_mouth_opening(clip.landmarks_px).astype(np.float64)
            labels = [table[clip.key].astype(np.float64) for table in (pose, gaze, blink)]
            yield Labelled(clip, sources[clip.source.video_id], labels[0], labels[1], labels[2], mouth)


def _folder(name: str, published: Published | None) -> Path:
    if published is None:
        raise click.ClickException(f"{name} is not made yet; run `pdfgc demo` on this root first")
    return local_copy(published.directory)


@dataclass(frozen=True)
class Truth:
    """The truth of a clip's frames."""

    pose: Array  # [T, 6] in the clip's crop camera
    gaze: Array
    blink: Array
    mouth_cm: Array


def truth_of(labelled: Labelled) -> Truth | None:
    """The truth beside the clip's video, where there is one."""
    path = labelled.source.with_suffix(".truth.parquet")
    if not path.exists():
        return None
    table = read_truth(path)
    first = labelled.clip.source.first_frame
    part = table.slice(first, labelled.clip.frame_count)

    def columns(names: tuple[str, ...]) -> Array:
        return np.stack([part[name].to_numpy().astype(np.float64) for name in names], axis=1)

    pose = pose_in_crop(columns(POSE_COLUMNS), labelled.clip.source.crop_transforms, filming_camera(table))
    return Truth(pose, columns(GAZE_COLUMNS), columns(BLINK_COLUMNS), columns(("mouth_opening_cm",))[:, 0])


def accuracy(pairs: list[tuple[Labelled, Truth]]) -> dict[str, float]:
    """Errors and correlations over all frames, clips of one identity together where it says so."""
    pose_error = np.concatenate([np.abs(made.pose - truth.pose) for made, truth in pairs])
    figures = {
        f"pose {name} median error, degrees": float(np.degrees(np.median(pose_error[:, number])))
        for number, name in enumerate(("pitch", "yaw", "roll"))
    }
    figures |= {
        f"pose {name} median error, cm": float(np.median(pose_error[:, 3 + number]))
        for number, name in enumerate("xyz")
    }
    gaze_error = np.concatenate([_gaze_error_degrees(made, truth) for made, truth in pairs])
    figures["gaze median error, degrees"] = float(np.median(gaze_error))
    figures["gaze 90th percentile, degrees"] = float(np.percentile(gaze_error, 90))
    for number, name in enumerate(("pitch", "yaw")):
        made_gaze = np.concatenate([made.gaze[:, number] for made, _ in pairs])
        true_gaze = np.concatenate([truth.gaze[:, number] for _, truth in pairs])
        seen = np.concatenate([truth.blink.max(axis=1) < OPEN_EYE for _, truth in pairs])
        figures[f"gaze {name} correlation"] = _correlation(made_gaze[seen], true_gaze[seen])
    for number, name in enumerate(("left", "right")):
        made_blink = np.concatenate([made.blink[:, number] for made, _ in pairs])
        true_blink = np.concatenate([truth.blink[:, number] for _, truth in pairs])
        figures[f"blink {name} correlation"] = _correlation(made_blink, true_blink)
    identities = sorted({made.clip.identity for made, _ in pairs})
    by_person = [
        _correlation(
            np.concatenate([made.mouth for made, _ in pairs if made.clip.identity == identity]),
            np.concatenate([truth.mouth_cm for made, truth in pairs if made.clip.identity == identity]),
        )
        for identity in identities
    ]
    figures["mouth opening correlation, median of persons"] = float(np.median(by_person))
    figures["mouth opening correlation, worst person"] = float(np.min(by_person))
    return figures


def plausibility(clips: list[Labelled]) -> dict[str, float]:
    """Jitter between neighbouring frames, in degrees (cm for places), and the eyes' agreement."""
    steps = np.concatenate([np.abs(np.diff(made.pose, axis=0)) for made in clips])
    gaze_steps = np.concatenate([np.abs(np.diff(made.gaze, axis=0)) for made in clips])
    blink = np.concatenate([made.blink for made in clips])
    figures = {
        f"{name} step, median, degrees": float(np.degrees(np.median(steps[:, number])))
        for number, name in enumerate(("pitch", "yaw", "roll"))
    }
    figures |= {
        f"gaze {name} step, median, degrees": float(np.degrees(np.median(gaze_steps[:, number])))
        for number, name in enumerate(("pitch", "yaw"))
    }
    return figures | {"blink, left against right, correlation": _correlation(blink[:, 0], blink[:, 1])}


def _gaze_error_degrees(made: Labelled, truth: Truth) -> Array:
    cosine = (direction_from_gaze(made.gaze) * direction_from_gaze(truth.gaze)).sum(axis=1)
    error = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return error[truth.blink.max(axis=1) < OPEN_EYE]


def _correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one, other)[0, 1])


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(root: Path, json_path: Path | None) -> None:
    """Compare the labels with the truth, and say how steady they are."""
    clips = list(labelled_clips(root))
    if not clips:
        raise click.ClickException(f"{root} holds no accepted clip")
    pairs = [(made, truth) for made in clips if (truth := truth_of(made)) is not None]
    figures: dict[str, Any] = {"clips": len(clips), "clips with truth": len(pairs)}
    steady = plausibility(clips)
    show(f"{len(clips)} clips: how steady", ("what", "figure"), list(steady.items()))
    figures |= steady
    if pairs:
        errors = accuracy(pairs)
        show(f"{len(pairs)} clips with truth", ("what", "figure"), list(errors.items()))
        figures |= errors
    write_json(json_path, figures)


if __name__ == "__main__":
    main()
