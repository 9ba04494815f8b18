"""Agreement of the backend face_landmarker with the default labels, and its accuracy.

Reads the published labels of a root; builds nothing. For source videos with a truth table (the demo corpus)
it reports errors and fits the constants that map the backend into our frame of reference.

    python -m benchmarks.preprocessing.landmarker_agreement ROOT [--model FILE] [--every N] [--json FILE]
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.measuring import cpu_seconds, show, write_json
from benchmarks.preprocessing.label_accuracy import labelled_clips, truth_of
from demo_corpus.truth import read_truth
from preprocessing.faces.shape.frame_of_reference import CROP_FOCAL_PX, REFERENCE_DISTANCE_CM
from preprocessing.labellers.face_landmarker import BLENDSHAPES, CAMERA_FOCAL_PX, FaceLandmarker
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.media.jpeg import decode_jpeg
from weights.resolve import weights_path

Array = NDArray[np.float64]
AXES = ("pitch, degrees", "yaw, degrees", "roll, degrees", "x, cm", "y, cm", "z, cm")
# Column of the truth table: the blendshapes whose mean corresponds to it. Image-left is the person's right.
EXPRESSIONS = {
    "mouth_opening_cm": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow_raise": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "blink_left": ("eyeBlinkRight",),
    "blink_right": ("eyeBlinkLeft",),
}


@dataclass(frozen=True)
class Frames:
    """Frames in which the backend found a face: its labels, the default labels, the truth."""

    matrix: Array  # [N, 4, 4]
    backend: Array  # [N, 6] degrees and cm, as AXES
    default: Array
    truth: Array  # [N, 6] NaN without truth
    blendshapes: Array  # [N, 52]
    default_blink: Array  # [N, 2]
    true_expression: Array  # [N, 5] as EXPRESSIONS; NaN without truth
    frame_count: int
    cpu_milliseconds: dict[str, float]  # per frame, by backend


def label_frames(root: Path, model: Path, every: int) -> Frames:
    """Label every `every`-th frame of every clip with the backend."""
    parts: list[tuple[Array, ...]] = []
    spent = {"face_landmarker": 0.0, "mean_face (pose alone, of landmarks)": 0.0}
    frame_count = 0
    with FaceLandmarker(model) as backend:
        for labelled in labelled_clips(root):
            frames = slice(None, None, every)
            start = cpu_seconds()
            labels = backend.label(map(decode_jpeg, labelled.clip.frames_jpeg[frames]))
            spent["face_landmarker"] += cpu_seconds() - start
            start = cpu_seconds()
            label_pose(labelled.clip.landmarks_px[frames])
            spent["mean_face (pose alone, of landmarks)"] += cpu_seconds() - start
            frame_count += len(labels.found)
            count = labelled.clip.frame_count
            expression, truth = np.full((count, len(EXPRESSIONS)), np.nan), truth_of(labelled)
            if truth is not None:
                table = read_truth(labelled.source.with_suffix(".truth.parquet"))
                part = table.slice(labelled.clip.source.first_frame, count)
                expression = np.stack([part[name].to_numpy() for name in EXPRESSIONS], axis=1)
            true_pose = np.full((count, 6), np.nan) if truth is None else truth.pose
            rows = (labels.matrix, labels.pose, labelled.pose[frames], true_pose[frames], labels.blendshapes)
            rows = (*rows, labelled.blink[frames], expression[frames])
            parts.append(tuple(row[labels.found].astype(np.float64) for row in rows))
    if not parts:
        raise click.ClickException(f"{root} has no accepted clip")
    matrix, pose, default, truth, shapes, blink, expression = map(np.concatenate, zip(*parts, strict=True))
    cost = {name: 1000.0 * seconds / frame_count for name, seconds in spent.items()}
    pose, default, truth = in_degrees(pose), in_degrees(default), in_degrees(truth)
    return Frames(matrix, pose, default, truth, shapes, blink, expression, frame_count, cost)


def in_degrees(pose: Array) -> Array:
    """Poses [N, 6] with degrees in place of radians."""
    return np.concatenate([np.degrees(pose[:, :3]), pose[:, 3:]], axis=1)


def agreement(frames: Frames) -> dict[str, float]:
    """The backend against the default labels."""
    difference = np.abs(frames.backend - frames.default)
    results = {
        f"{axis}, median": float(value) for axis, value in zip(AXES, np.median(difference, 0), strict=True)
    }
    for number, name in enumerate(("blink_left", "blink_right")):
        scores = expression_of(frames, EXPRESSIONS[name])
        results[f"{name}, correlation"] = correlation(scores, frames.default_blink[:, number])
    return results


def errors(frames: Frames, pose: Array) -> dict[str, float]:
    """A labeller's pose against the truth: median error, median bias and slope of each axis."""
    results: dict[str, float] = {}
    for number, axis in enumerate(AXES):
        label, true = pose[:, number], frames.truth[:, number]
        results[f"{axis}, median error"] = float(np.median(np.abs(label - true)))
        results[f"{axis}, median bias"] = float(np.median(label - true))
        results[f"{axis}, slope"] = float(np.polyfit(true, label, 1)[0])
    return results


def expression_errors(frames: Frames) -> dict[str, float]:
    """Correlation of blendshapes with the demo corpus' controls, over all identities."""
    return {
        f"{name}, correlation": correlation(expression_of(frames, shapes), frames.true_expression[:, number])
        for number, (name, shapes) in enumerate(EXPRESSIONS.items())
    }


def fitted_constants(frames: Frames) -> dict[str, float]:
    """HEAD_ORIGIN_CM (its x is 0 by symmetry) and CENTIMETRES_PER_UNIT of `face_landmarker`."""
    rotation, place = frames.matrix[:, :3, :3], frames.matrix[:, :3, 3]
    depth_cm = REFERENCE_DISTANCE_CM - frames.truth[:, 5]
    true_px = CROP_FOCAL_PX * frames.truth[:, 3:5] / depth_cm[:, None]

    def origin(height_and_depth: Array) -> Array:
        return rotation @ np.array([0.0, *height_and_depth]) + place

    def residuals_px(height_and_depth: Array) -> Array:
        point = origin(height_and_depth)
        return (CAMERA_FOCAL_PX * point[:, :2] / -point[:, 2:] - true_px).ravel()

    fitted = np.asarray(least_squares(residuals_px, [3.0, 2.0], loss="huber").x)
    scale = depth_cm / (CROP_FOCAL_PX / CAMERA_FOCAL_PX * -origin(fitted)[:, 2])
    return {"origin y": float(fitted[0]), "origin z": float(fitted[1]), "cm a unit": float(np.median(scale))}


def expression_of(frames: Frames, shapes: tuple[str, ...]) -> Array:
    """[N] mean of the given blendshapes."""
    return frames.blendshapes[:, [BLENDSHAPES.index(shape) for shape in shapes]].mean(axis=1)


def correlation(first: Array, second: Array) -> float:
    """Pearson's correlation coefficient."""
    return float(np.corrcoef(first, second)[0, 1])


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Task file.  [default: the pretrained one]",
)
@click.option(
    "--every", type=click.IntRange(min=1), default=4, show_default=True, help="Use every N-th frame."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(root: Path, model: Path | None, every: int, json_path: Path | None) -> None:
    """Compare the backend face_landmarker with the default labellers and with the truth."""
    frames = label_frames(root, weights_path("face_landmarker") if model is None else model, every)
    counts = {"frames": frames.frame_count, "without a face": frames.frame_count - len(frames.matrix)}
    tables = {
        "CPU milliseconds a frame": frames.cpu_milliseconds,
        "face_landmarker against the default labels": agreement(frames),
    }
    if np.isfinite(frames.truth).all():
        tables |= {
            "face_landmarker against the truth": errors(frames, frames.backend),
            "default labels against the truth": errors(frames, frames.default),
            "blendshapes against the truth": expression_errors(frames),
            "constants fitted to the truth": fitted_constants(frames),
        }
    for title, results in tables.items():
        show(f"{title} ({counts['frames']} frames)", ("metric", "value"), list(results.items()))
    write_json(json_path, {**counts, **tables})


if __name__ == "__main__":
    main()
