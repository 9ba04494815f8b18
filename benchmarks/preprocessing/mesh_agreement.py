"""Agreement and speed of MediaPipe's networks run by LiteRT with its own graphs or torch, videos to labels.

Runs the steps up to the labels twice on the same videos, by the default settings and by the graphs, or by
torch on batches (on a GPU if there is one). Compares landmarks, labels, jitter and refusals, and frames per
second of `face_tracks`.

    python -m benchmarks.preprocessing.mesh_agreement FOLDER [--limit 30] [--against torch] [--json FILE]
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from preprocessing.process_pool import ONE_THREAD

os.environ.update(ONE_THREAD)  # read when numpy is loaded, so before the imports below

import click
import numpy as np
from numpy.typing import NDArray
from upath import UPath

from benchmarks.measuring import show, write_json
from benchmarks.preprocessing.preprocess import find_videos
from preprocessing.clips.store import read_clip_table, read_clips
from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.tracking import TrackingSettings
from preprocessing.faces.video import FaceTrackSettings
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.media.decoding import DecodeSettings
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import PreprocessingSettings, run_step
from preprocessing.schema import Clip
from storage.fingerprint import file_sha256
from storage.root import local_copy

Labels = dict[str, NDArray[np.float32]]
OTHERS = {
    "graphs": TrackingSettings(mesh="mediapipe_graph", detector=DetectorSettings(backend="mediapipe_graph")),
    "torch": TrackingSettings(mesh="torch"),
}


@dataclass(frozen=True)
class Result:
    """Clips and labels of one way to run the networks."""

    reasons: dict[str, str]  # of every candidate by its key; empty where accepted
    clips: dict[str, Clip]
    pose: Labels
    gaze: Labels
    blink: Labels
    frames_per_second: float  # of `face_tracks`, in one process


def run(videos: list[Path], settings: PreprocessingSettings, root: Path) -> Result:
    """The steps up to the labels, in this process."""
    batch = VideoBatch(
        "measured",
        tuple(
            SourceVideo(file_sha256(path)[:16], path, path.name, f"{path.parent.name}-{number}")
            for number, path in enumerate(videos)
        ),
    )
    names = ("face_tracks", "clips", "pose_labels", "gaze_labels")
    built = [run_step(UPath(root), name, batch, settings, workers=0) for name in names]
    folders = [local_copy(each.directory) for each in built]
    tracking = built[0].manifest
    table = read_clip_table(folders[1])
    return Result(
        reasons=dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True)),
        clips={clip.key: clip for clip in read_clips(folders[1])},
        pose=read_labels(folders[2], POSE_NAMES),
        gaze=read_labels(folders[3], GAZE_NAMES),
        blink=read_labels(folders[3], BLINK_NAMES),
        frames_per_second=tracking.counts["frames"] / tracking.seconds,
    )


def source_landmarks(clip: Clip) -> NDArray[np.float64]:
    """[T, 478, 2] in px of the source."""
    transforms = clip.source.crop_transforms.astype(np.float64)
    moved = clip.landmarks_px[..., :2] - transforms[:, None, :, 2]
    return np.einsum("tij,tnj->tni", np.linalg.inv(transforms[:, :, :2]), moved)


def compare(ours: Result, graphs: Result, name_of_other: str = "graphs") -> dict[str, float]:
    """Distances of the clips that both have, and the jitter of each."""
    keys = [
        key
        for key, clip in sorted(ours.clips.items())
        if key in graphs.clips and graphs.clips[key].frame_count == clip.frame_count
    ]
    distances, irises = [], []
    for key in keys:
        first, second = (source_landmarks(result.clips[key]) for result in (ours, graphs))
        size = np.ptp(second, axis=1).max(axis=1)[:, None]
        distance = np.linalg.norm(first - second, axis=-1) / size
        distances.append(distance)
        irises.append(distance[:, 468:])
    all_distances = np.concatenate(distances)
    results = {
        "clips of both": float(len(keys)),
        "landmarks, mean distance, % of the face": float(100 * all_distances.mean()),
        "landmarks, 99.9th percentile, %": float(100 * np.percentile(all_distances, 99.9)),
        "irises, mean distance, %": float(100 * np.concatenate(irises).mean()),
    }
    for name in ("pose", "gaze", "blink"):
        pairs = [(getattr(ours, name)[key], getattr(graphs, name)[key]) for key in keys]
        scale = 1.0 if name == "blink" else 180 / np.pi
        first, second = ([scale * pair[side][:, :3] for pair in pairs] for side in (0, 1))
        difference = np.abs(np.concatenate(first) - np.concatenate(second))
        results[f"{name}, median difference"] = float(np.median(difference))
        results[f"{name}, 99th percentile"] = float(np.percentile(difference, 99))
        for label, values in (("ours", first), (name_of_other, second)):
            steps = np.concatenate([np.abs(np.diff(value, axis=0)) for value in values])
            results[f"{name}, mean step between frames, {label}"] = float(steps.mean())
    return results


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--limit", default=30, help="Videos to use.")
@click.option("--against", default="graphs", type=click.Choice(list(OTHERS)))
@click.option("--hardware", default="none", type=click.Choice(["none", "auto"]), help="Decoder of the other.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    folder: Path, limit: int, against: str, hardware: Literal["none", "auto"], json_path: Path | None
) -> None:
    """Compare labels (degrees; blink 0 to 1) by LiteRT with those by MediaPipe's graphs or by torch."""
    other = FaceTrackSettings(tracking=OTHERS[against], decode=DecodeSettings(hardware=hardware))
    videos = find_videos(folder, limit)
    with tempfile.TemporaryDirectory() as work:
        ours = run(videos, PreprocessingSettings(), Path(work) / "ours")
        graphs = run(videos, PreprocessingSettings(face_tracks=other), Path(work) / against)
    for key in sorted(ours.reasons.keys() | graphs.reasons.keys()):
        outcomes = ours.reasons.get(key, "none"), graphs.reasons.get(key, "none")
        if outcomes[0] != outcomes[1]:
            click.echo(f"{key}: ours {outcomes[0] or 'accepted'}, {against} {outcomes[1] or 'accepted'}")
    results = compare(ours, graphs, against)
    rates = {"ours": ours.frames_per_second, against: graphs.frames_per_second}
    results |= {f"face_tracks, frames a second, {name}": rate for name, rate in rates.items()}
    show(f"{len(videos)} videos", ("", "value"), list(results.items()))
    write_json(json_path, results)


if __name__ == "__main__":
    main()
