"""Accuracy of the labels on the demo corpus, and their plausibility on any clips.

Reads the published labels of a root; builds nothing. For source videos with a truth table (the demo
corpus) it reports errors; for all clips the jitter between neighbouring frames and the agreement of
both eyes.

    python -m benchmarks.preprocessing.label_accuracy ROOT [--json FILE]
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
from preprocessing.faces.shape.frame_of_reference import direction_from_gaze
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.schema import Clip
from preprocessing.sources.stored_catalog import batch_keys, load_batch
from storage.publishing import Published, current
from storage.root import local_copy, open_root

Array = NDArray[np.float64]
OPEN_EYE = 0.5  # gaze is compared where the true blink stays below


@dataclass(frozen=True)
class Labelled:
    """One clip with its labels."""

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
        builds = {name: current(root, name, key) for name in ("clips", "pose_labels", "gaze_labels")}
        folders = {name: _folder(name, published) for name, published in builds.items()}
        pose = read_labels(folders["pose_labels"], POSE_NAMES)
        gaze = read_labels(folders["gaze_labels"], GAZE_NAMES)
        blink = read_labels(folders["gaze_labels"], BLINK_NAMES)
        for clip in read_clips(folders["clips"]):
            mouth = measure_mouth_opening(clip.landmarks_px).astype(np.float64)
            labels = [table[clip.key].astype(np.float64) for table in (pose, gaze, blink)]
            yield Labelled(clip, sources[clip.source.video_id], labels[0], labels[1], labels[2], mouth)


def _folder(name: str, published: Published | None) -> Path:
    if published is None:
        raise click.ClickException(f"{name} has not been built; run `pdfgc demo` on this root first")
    return local_copy(published.directory)


@dataclass(frozen=True)
class Truth:
    """The truth of a clip's frames."""

    pose: Array  # [T, 6] in the clip's crop camera
    gaze: Array
    blink: Array
    mouth_cm: Array


def truth_of(labelled: Labelled) -> Truth | None:
    """The truth of the clip's video, if there is one."""
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
    """Errors and correlations over all frames; correlations of the mouth per identity."""
    pose_error = np.concatenate([np.abs(labels.pose - truth.pose) for labels, truth in pairs])
    results = {
        f"pose {name} median error, degrees": float(np.degrees(np.median(pose_error[:, number])))
        for number, name in enumerate(("pitch", "yaw", "roll"))
    }
    results |= {
        f"pose {name} median error, cm": float(np.median(pose_error[:, 3 + number]))
        for number, name in enumerate("xyz")
    }
    gaze_error = np.concatenate([_gaze_error_degrees(labels, truth) for labels, truth in pairs])
    results["gaze median error, degrees"] = float(np.median(gaze_error))
    results["gaze 90th percentile, degrees"] = float(np.percentile(gaze_error, 90))
    for number, name in enumerate(("pitch", "yaw")):
        label_gaze = np.concatenate([labels.gaze[:, number] for labels, _ in pairs])
        true_gaze = np.concatenate([truth.gaze[:, number] for _, truth in pairs])
        is_open = np.concatenate([truth.blink.max(axis=1) < OPEN_EYE for _, truth in pairs])
        results[f"gaze {name} correlation"] = _correlation(label_gaze[is_open], true_gaze[is_open])
    for number, name in enumerate(("left", "right")):
        label_blink = np.concatenate([labels.blink[:, number] for labels, _ in pairs])
        true_blink = np.concatenate([truth.blink[:, number] for _, truth in pairs])
        results[f"blink {name} correlation"] = _correlation(label_blink, true_blink)
    identities = sorted({labels.clip.identity for labels, _ in pairs})
    by_identity = [
        _correlation(
            np.concatenate([labels.mouth for labels, _ in pairs if labels.clip.identity == identity]),
            np.concatenate([truth.mouth_cm for labels, truth in pairs if labels.clip.identity == identity]),
        )
        for identity in identities
    ]
    results["mouth opening correlation, median of identities"] = float(np.median(by_identity))
    results["mouth opening correlation, worst identity"] = float(np.min(by_identity))
    return results


def plausibility(clips: list[Labelled]) -> dict[str, float]:
    """Jitter between neighbouring frames, and the correlation of both eyes' blinks."""
    steps = np.concatenate([np.abs(np.diff(labels.pose, axis=0)) for labels in clips])
    gaze_steps = np.concatenate([np.abs(np.diff(labels.gaze, axis=0)) for labels in clips])
    blink = np.concatenate([labels.blink for labels in clips])
    results = {
        f"{name} step, median, degrees": float(np.degrees(np.median(steps[:, number])))
        for number, name in enumerate(("pitch", "yaw", "roll"))
    }
    results |= {
        f"gaze {name} step, median, degrees": float(np.degrees(np.median(gaze_steps[:, number])))
        for number, name in enumerate(("pitch", "yaw"))
    }
    return results | {"blink, left against right, correlation": _correlation(blink[:, 0], blink[:, 1])}


def _gaze_error_degrees(labels: Labelled, truth: Truth) -> Array:
    cosine = (direction_from_gaze(labels.gaze) * direction_from_gaze(truth.gaze)).sum(axis=1)
    error = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return error[truth.blink.max(axis=1) < OPEN_EYE]


def _correlation(first: Array, second: Array) -> float:
    return float(np.corrcoef(first, second)[0, 1])


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(root: Path, json_path: Path | None) -> None:
    """Compare the labels with the truth, and report their plausibility."""
    clips = list(labelled_clips(root))
    if not clips:
        raise click.ClickException(f"{root} has no accepted clip")
    pairs = [(labels, truth) for labels in clips if (truth := truth_of(labels)) is not None]
    results: dict[str, Any] = {"clips": len(clips), "clips with truth": len(pairs)}
    jitter = plausibility(clips)
    show(f"{len(clips)} clips: plausibility", ("metric", "value"), list(jitter.items()))
    results |= jitter
    if pairs:
        errors = accuracy(pairs)
        show(f"{len(pairs)} clips with truth", ("metric", "value"), list(errors.items()))
        results |= errors
    write_json(json_path, results)


if __name__ == "__main__":
    main()
