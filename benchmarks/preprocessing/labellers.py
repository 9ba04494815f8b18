"""Cost of the backends that run a network: CPU milliseconds per frame, in total and of the network alone.

Reads the clips of a root. Weights are random in the published files' layouts, in a temporary folder: the
labels are meaningless, the costs are those of the published networks. FaceLandmarker runs its own file, if
one is given. Detectors run on whole pictures at intervals: `benchmarks.preprocessing.detector_costs`.

    python -m benchmarks.preprocessing.labellers ROOT [--clips N] [--face-landmarker FILE] [--json FILE]
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.measuring import cpu_seconds, show, write_json
from benchmarks.preprocessing.label_accuracy import labelled_clips
from models.external.face_reconstruction import FaceReconstruction
from models.external.l2cs import L2CS, L2CSConfig
from models.external.syncnet import SyncNet
from models.presets import preset_named
from preprocessing.labellers.backend import ClipLabeller
from preprocessing.labellers.face_landmarker import DecodedClip, FaceLandmarker, FaceLandmarkerPose
from preprocessing.labellers.gaze_iris import GazeClip, GazeLabels
from preprocessing.labellers.gaze_l2cs import INPUT_SIDE_PX, L2CSGaze
from preprocessing.labellers.lip_sync.syncnet import SyncNetScores
from preprocessing.labellers.networks import load_from_hub
from preprocessing.labellers.pose_deep3d import Deep3DPose
from preprocessing.schema import Clip

Label = Callable[[Clip], object]
Network = Callable[[Clip], object]
"""The same number of frames through the network alone."""


def backends(folder: Path) -> dict[str, tuple[Label, Network]]:
    """Of each backend: a clip from its JPEGs to its labels, and as many frames through the network."""
    deep3d = FaceReconstruction(preset_named("official").face_reconstruction)
    torch.save({"net_recon": deep3d.state_dict()}, folder / "deep3d.pth")
    torch.save(L2CS(L2CSConfig()).state_dict(), folder / "l2cs.pkl")
    torch.save(SyncNet().state_dict(), folder / "syncnet.model")
    pose = Deep3DPose(load_from_hub("deep3d_reconstruction", folder / "deep3d.pth"))
    gaze = L2CSGaze(load_from_hub("l2cs", folder / "l2cs.pkl"))
    network = load_from_hub("syncnet_clip", folder / "syncnet.model")

    def sync_alone(clip: Clip) -> object:
        frames = clip.frame_count
        pictures, mfcc = torch.zeros(frames, 3, 224, 224, dtype=torch.uint8), torch.zeros(4 * frames, 13)
        return network.embed_frames(pictures), network.embed_mfcc(mfcc)

    return {
        "deep3d": (_whole(pose), lambda clip: pose.coefficients(_black(clip.frame_count, 224))),
        "l2cs": (
            lambda clip: gaze.label(gaze.prepare(_gaze_clip(clip))),
            lambda clip: gaze.gaze_to_camera(_black(clip.frame_count, INPUT_SIDE_PX)),
        ),
        "syncnet_v2": (_whole(SyncNetScores(network)), sync_alone),
    }


def _face_landmarker(model: FaceLandmarker) -> tuple[Label, Network]:
    labeller = FaceLandmarkerPose(model)
    pictures: dict[str, DecodedClip] = {}

    def alone(clip: Clip) -> object:
        return model.label(pictures[clip.key].pictures)

    def label(clip: Clip) -> object:
        pictures[clip.key] = labeller.prepare(clip)
        return labeller.label(pictures[clip.key])

    return label, alone


def _whole(labeller: ClipLabeller[Clip, Any, Any]) -> Label:
    return lambda clip: labeller.label(labeller.prepare(clip))


def _gaze_clip(clip: Clip) -> GazeClip:
    frames = clip.frame_count
    iris = GazeLabels(np.zeros((frames, 2), np.float32), np.ones(frames, np.bool_))
    return GazeClip(clip, np.zeros((frames, 6), np.float32), iris, 1.0)


def _black(frames: int, side_px: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [np.zeros((side_px, side_px, 3), np.uint8)] * frames


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--clips", type=click.IntRange(min=1), default=2, show_default=True, help="How many.")
@click.option(
    "--face-landmarker", "model", type=click.Path(path_type=Path, exists=True), help="Its task file."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(root: Path, clips: int, model: Path | None, json_path: Path | None) -> None:
    """Measure every backend on the first clips."""
    taken = [labelled.clip for labelled, _ in zip(labelled_clips(root), range(clips), strict=False)]
    frames = sum(clip.frame_count for clip in taken)
    rows: list[tuple[str, float, float, float]] = []
    with ExitStack() as opened:
        measured = backends(Path(opened.enter_context(tempfile.TemporaryDirectory())))
        if model is not None:
            measured["face_landmarker"] = _face_landmarker(opened.enter_context(FaceLandmarker(model)))
        for name, (label, network) in measured.items():
            label(taken[0])  # the first call chooses kernels
            start = cpu_seconds()
            for clip in taken:
                label(clip)
            whole = cpu_seconds() - start
            start = cpu_seconds()
            for clip in taken:
                network(clip)
            alone = cpu_seconds() - start
            rows.append((name, 1000 * whole / frames, 1000 * alone / frames, whole / alone))
    head = ("backend", "CPU ms a frame", "network alone", "ratio")
    show(f"{frames} frames of {len(taken)} clips", head, rows)
    write_json(json_path, {name: dict(zip(head[1:], row, strict=True)) for name, *row in rows})


if __name__ == "__main__":
    main()
