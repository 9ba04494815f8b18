"""How the backend face_landmarker agrees with the default labels, and how near the truth it comes.

Reads what the steps published under a root; makes nothing anew. Where a source video has its truth beside it
(the demo corpus), errors are told, and the constants that map the backend into our frame are fitted again.

    python -m benchmarks.landmarker_agreement ROOT [--model FILE] [--every N] [--json FILE]
"""

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.label_accuracy import labelled_clips, truth_of
from benchmarks.measuring import cpu_seconds, show, write_json
from demo_corpus.truth import read_truth
from preprocessing.faces.frame_of_reference import CROP_FOCAL_PX, REFERENCE_DISTANCE_CM
from preprocessing.labellers.face_landmarker import BLENDSHAPES, CAMERA_FOCAL_PX, FaceLandmarker
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.media.jpeg import decode_jpeg
from weights.resolve import weights_path

Array = NDArray[np.float64]
AXES = ("pitch, degrees", "yaw, degrees", "roll, degrees", "x, cm", "y, cm", "z, cm")
# Of the truth's table; the blendshapes whose mean goes with it. Image-left is the person's right.
EXPRESSIONS = {
    "mouth_opening_cm": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow_raise": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "blink_left": ("eyeBlinkRight",),
    "blink_right": ("eyeBlinkLeft",),
}


@dataclass(frozen=True)
class Frames:
    """Frames in which the backend found a face: its labels, the default ones, the truth."""

    matrix: Array  # [N, 4, 4]
    backend: Array  # [N, 6] degrees and cm, as AXES
    default: Array
    truth: Array  # [N, 6] NaN where there is none
    blendshapes: Array  # [N, 52]
    default_blink: Array  # [N, 2]
    true_expression: Array  # [N, 5] as EXPRESSIONS; NaN where there is none
    looked_at: int
    cpu_milliseconds: dict[str, float]  # a frame, by backend


def look(root: Path, model: Path, every: int) -> Frames:
    """Label every so-manieth frame of every clip by the backend."""
    parts: list[tuple[Array, ...]] = []
    spent = {"face_landmarker": 0.0, "mean_face (pose alone, of landmarks)": 0.0}
    looked_at = 0
    with FaceLandmarker(model) as backend:
        for labelled in labelled_clips(root):
            frames = slice(None, None, every)
            start = cpu_seconds()
            told = backend.label(map(decode_jpeg, labelled.clip.frames_jpeg[frames]))
            spent["face_landmarker"] += cpu_seconds() - start
            start = cpu_seconds()
            label_pose(labelled.clip.landmarks_px[frames])
            spent["mean_face (pose alone, of landmarks)"] += cpu_seconds() - start
            looked_at += len(told.found)
            count = labelled.clip.frame_count
            expression, truth = np.full((count, len(EXPRESSIONS)), np.nan), truth_of(labelled)
            if truth is not None:
                table = read_truth(labelled.source.with_suffix(".truth.parquet"))
                part = table.slice(labelled.clip.source.first_frame, count)
                expression = np.stack([part[name].to_numpy() for name in EXPRESSIONS], axis=1)
            true_pose = np.full((count, 6), np.nan) if truth is None else truth.pose
            rows = (told.matrix, told.pose, labelled.pose[frames], true_pose[frames], told.blendshapes)
            rows = (*rows, labelled.blink[frames], expression[frames])
            parts.append(tuple(row[told.found].astype(np.float64) for row in rows))
    if not parts:
        raise click.ClickException(f"{root} holds no accepted clip")
    matrix, pose, default, truth, shapes, blink, expression = map(np.concatenate, zip(*parts, strict=True))
    cost = {name: 1000.0 * seconds / looked_at for name, seconds in spent.items()}
    pose, default, truth = in_degrees(pose), in_degrees(default), in_degrees(truth)
    return Frames(matrix, pose, default, truth, shapes, blink, expression, looked_at, cost)


def in_degrees(pose: Array) -> Array:
    """Poses [N, 6] with degrees in place of radians."""
    return np.concatenate([np.degrees(pose[:, :3]), pose[:, 3:]], axis=1)


def agreement(frames: Frames) -> dict[str, float]:
    """The backend against the default labels."""
    apart = np.abs(frames.backend - frames.default)
    figures = {f"{axis}, median": float(value) for axis, value in zip(AXES, np.median(apart, 0), strict=True)}
    for number, name in enumerate(("blink_left", "blink_right")):
        scores = expression_of(frames, EXPRESSIONS[name])
        figures[f"{name}, correlation"] = correlation(scores, frames.default_blink[:, number])
    return figures


def errors(frames: Frames, pose: Array) -> dict[str, float]:
    """A labeller's pose against the truth: median error, median bias and slope of each axis."""
    figures: dict[str, float] = {}
    for number, axis in enumerate(AXES):
        told, true = pose[:, number], frames.truth[:, number]
        figures[f"{axis}, median error"] = float(np.median(np.abs(told - true)))
        figures[f"{axis}, median bias"] = float(np.median(told - true))
        figures[f"{axis}, share of the true change"] = float(np.polyfit(true, told, 1)[0])
    return figures


def expression_errors(frames: Frames) -> dict[str, float]:
    """How blendshapes go with what the demo corpus' faces do, all people together."""
    return {
        f"{name}, correlation": correlation(expression_of(frames, shapes), frames.true_expression[:, number])
        for number, (name, shapes) in enumerate(EXPRESSIONS.items())
    }


def fitted_constants(frames: Frames) -> dict[str, float]:
    """HEAD_ORIGIN_CM (its x is 0 by symmetry) and CENTIMETRES_PER_UNIT of `face_landmarker`."""
    rotation, place = frames.matrix[:, :3, :3], frames.matrix[:, :3, 3]
    depth_cm = REFERENCE_DISTANCE_CM - frames.truth[:, 5]
    seen_px = CROP_FOCAL_PX * frames.truth[:, 3:5] / depth_cm[:, None]

    def origin(height_and_depth: Array) -> Array:
        return rotation @ np.array([0.0, *height_and_depth]) + place

    def misses_px(height_and_depth: Array) -> Array:
        found = origin(height_and_depth)
        return (CAMERA_FOCAL_PX * found[:, :2] / -found[:, 2:] - seen_px).ravel()

    fitted = np.asarray(least_squares(misses_px, [3.0, 2.0], loss="huber").x)
    scale = depth_cm / (CROP_FOCAL_PX / CAMERA_FOCAL_PX * -origin(fitted)[:, 2])
    return {"origin y": float(fitted[0]), "origin z": float(fitted[1]), "cm a unit": float(np.median(scale))}


def expression_of(frames: Frames, shapes: tuple[str, ...]) -> Array:
    """[N] the mean of blendshapes."""
    return frames.blendshapes[:, [BLENDSHAPES.index(shape) for shape in shapes]].mean(axis=1)


def correlation(one: Array, other: Array) -> float:
    """Pearson's."""
    return float(np.corrcoef(one, other)[0, 1])


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--model", type=click.Path(path_type=Path), help="FaceLandmarker's task file; else of the list."
)
@click.option(
    "--every", type=click.IntRange(min=1), default=4, show_default=True, help="Every so-manieth frame."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(root: Path, model: Path | None, every: int, json_path: Path | None) -> None:
    """Compare the backend face_landmarker with the default labellers and with the truth."""
    frames = look(root, weights_path("face_landmarker") if model is None else model, every)
    found = {"frames": frames.looked_at, "without a face": frames.looked_at - len(frames.matrix)}
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
    for title, figures in tables.items():
        show(f"{title} ({found['frames']} frames)", ("what", "figure"), list(figures.items()))
    write_json(json_path, {**found, **tables})


if __name__ == "__main__":
    main()
