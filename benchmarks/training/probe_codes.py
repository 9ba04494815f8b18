"""What MediaPipe's trunk, and a run's codes, tell of new people: linear probes against the labels.

A ridge regression is fitted on training clips of ROOT and read on clips of its validation split, or of the
test split of `--other`, every third frame, each clip centred: r of the predicted with the labelled value. The
trunk reads the stored crops resized to each `--side`; `--run` adds the eye, expression and pose codes of a
run, or of `starter`, and the lip code that it hears.

    python -m benchmarks.training.probe_codes ROOT [--side 64 --side 96 --side 224] [--run NAME] [--clips 36]
        [--other ROOT]
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measuring import show
from evaluation.animation.loading import load_talking_head
from models.trunks.mesh_trunk import MeshTrunk, MeshTrunkConfig
from preprocessing.faces.shape.expression import measure_expression
from preprocessing.schema import LANDMARK_COUNT
from storage.root import open_root
from training.data.draws import read_mel_window
from training.data.frames import to_network_input
from training.data.index import ClipIndex, open_current
from training.data.pairs import mouth_opening
from training.data.shard_reader import ReaderSettings, ShardReader

Array = NDArray[np.float64]
EVERY: Final = 3
LABELS: Final = (
    *("pitch", "yaw", "roll", "gaze up and down", "gaze sideways", "blink"),
    *("mouth opening", "smile", "brows"),
)
RIDGE: Final = 0.01  # of the features' mean variance
CODES: Final = ("eye", "expression", "pose")


class Clip(NamedTuple):
    """Frames uint8 [T, 3, H, W] of a clip, and their sound [T, 1, 80, 20]."""

    frames: Tensor
    mels: Tensor


def read_clips(index: ClipIndex, count: int) -> tuple[list[Clip], list[Array]]:
    """Clips, spread over the index, and their `LABELS` [T, 9]."""
    reader, clips, labels = ShardReader(index, ReaderSettings()), list[Clip](), list[Array]()
    for clip in np.unique(np.linspace(0, len(index) - 1, count).astype(int)).tolist():
        length = int(index.frame_counts[clip])
        shown = list(range(0, length, EVERY))

        def label(member: str, *shape: int, clip: int = clip, length: int = length) -> NDArray[np.float32]:
            return reader.rows(clip, member, (length, *shape), 0, length)[::EVERY]

        pose, landmarks = label("pose.npy", 6), label("landmarks.npy", LANDMARK_COUNT, 3)
        expression = measure_expression(landmarks, pose)
        columns = (
            *(pose[:, :3], label("gaze.npy", 2), label("blink.npy", 2).mean(axis=1, keepdims=True)),
            mouth_opening(landmarks)[:, None],
            np.stack([expression.smile, expression.brow_raise], axis=1),
        )
        mels = [read_mel_window(reader, clip, frame) for frame in shown]
        clips.append(Clip(torch.stack(reader.frames(clip, shown)), torch.stack(mels)))
        labels.append(centred(np.concatenate(columns, axis=1)))
    return clips, labels


def centred(rows: NDArray[Any]) -> Array:
    """Rows without their mean."""
    return np.asarray(rows - rows.mean(axis=0), np.float64)


def probe(train: tuple[Array, Array], held_out: tuple[Array, Array]) -> list[str]:
    """R of each label on the held-out rows."""
    features, labels = train
    covariance = features.T @ features
    ridge = RIDGE * np.trace(covariance) / len(covariance)
    fit = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), features.T @ labels)
    predicted, known = held_out[0] @ fit, held_out[1]
    products = (predicted * known).sum(axis=0)
    return [
        f"{value:.2f}"
        for value in products / np.sqrt((predicted**2).sum(axis=0) * (known**2).sum(axis=0) + 1e-12)
    ]


def measured(encode: Callable[[Clip], Tensor], clips: Sequence[Clip]) -> Array:
    """Features of all clips, each centred."""
    with torch.no_grad():
        return np.concatenate([centred(encode(clip).numpy()) for clip in clips])


@click.command(help=__doc__)
@click.argument("root")
@click.option("--side", "sides_px", multiple=True, default=(64, 96, 224), show_default=True)
@click.option("--run", default="", help="Run, or starter, whose codes are read too.")
@click.option("--clips", default=36, show_default=True, help="Training clips; a third as many held-out ones.")
@click.option("--other", default="", help="Root on whose test clips the probes are read.")
def main(root: str, sides_px: tuple[int, ...], run: str, clips: int, other: str) -> None:
    """Fit and read the probes."""
    opened = open_root(root)
    held_out = open_current(open_root(other), "test") if other else open_current(opened, "validation")
    splits = [
        read_clips(open_current(opened, "train"), clips),
        read_clips(held_out, max(1, clips if other else clips // 3)),
    ]
    labels = [np.concatenate(of_split) for _, of_split in splits]
    trunk = MeshTrunk(MeshTrunkConfig()).eval()
    rows = list[tuple[str, ...]]()

    def add(name: str, encode: Callable[[Clip], Tensor]) -> None:
        train, held_out = (measured(encode, of_split) for of_split, _ in splits)
        scale = 1 / np.maximum(train.std(axis=0), 1e-6)
        rows.append((name, *probe((train * scale, labels[0]), (held_out * scale, labels[1]))))

    for side_px in sides_px:
        add(
            f"trunk, {side_px} px",
            lambda clip, side_px=side_px: trunk(to_network_input(clip.frames, side_px)),
        )
    if run:
        head = load_talking_head(run, opened, "cpu")
        for code in CODES:

            def encode(clip: Clip, code: str = code) -> Tensor:
                motion = head.motion([frame.permute(1, 2, 0).numpy() for frame in clip.frames])
                tensor: Tensor = getattr(motion, code)
                return tensor.clone()

            add(f"{run}'s {code} code", encode)
        add(f"{run}'s lip code", lambda clip: head.lip(clip.mels.numpy()).clone())
    show(f"r on {len(labels[1])} frames of new people", ("", *LABELS), rows)


if __name__ == "__main__":
    main()
