"""Figures of the chain from video to shard, of its parts on other runtimes, and of a large data set."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.preprocessing.preprocess import find_videos, measure
from benchmarks.suite.figures import Figure
from preprocessing.faces.tflite.mesh import AttentionMesh, Region

VOXCELEB2_HOURS: Final = 2442  # Chung et al. 2018
FRAMES_PER_HOUR: Final = 25 * 3600


def make_root(videos: Path, root: Path) -> None:
    """Preprocess videos as a user does."""
    command = [sys.executable, "-m", "pipelines", "preprocess", str(videos), "--workers", "1"]
    subprocess.run(command, check=True, env=os.environ | {"PDFGC_ROOT": str(root)}, stdout=subprocess.DEVNULL)


def make_corpus(folder: Path) -> None:
    """Render four people, one video each."""
    options = ["--people", "4", "--videos", "1", "--seconds-per-video", "4", "--side-px", "256"]
    command = [sys.executable, "-m", "pipelines", "corpus", str(folder), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def chain(videos: Path, limit: int, rounds: int, folder: Path) -> list[Figure]:
    """The chain against its floor and against the script people write."""
    folder.mkdir()
    frames, seconds = measure(find_videos(videos, limit), rounds, folder)

    def per_frame(name: str) -> float:
        return 1000 * min(each[name] for each in seconds) / frames

    def ratios(first: str, second: str) -> tuple[float, ...]:
        return tuple(each[first] / each[second] for each in seconds)

    ours, unit = per_frame("chain"), "CPU ms a frame"
    hours = VOXCELEB2_HOURS * FRAMES_PER_HOUR * ours / 1000 / 3600
    return [
        Figure("chain", ours, unit, "floor", per_frame("floor"), ratios("chain", "floor"), "<= .75"),
        Figure("script", per_frame("script"), unit, "chain", ours, ratios("script", "chain"), ">= 2.5"),
        Figure("VoxCeleb2 at this rate", hours, "core hours", aim="<= 450"),
    ]


def mesh(rounds: int) -> list[Figure]:
    """The face mesh by LiteRT against MediaPipe's graph and against torch in batches, on one face."""
    from skimage.data import astronaut

    from benchmarks.measuring import cost_of
    from preprocessing.faces.batched.mesh import BatchedMesh
    from preprocessing.faces.mesh import FaceMesh

    picture, repeats = np.ascontiguousarray(astronaut()[:300, 80:380]), 24
    region = Region(np.array([148.0, 118.0]), 230.0, 0.0)
    literal, batched = AttentionMesh(), BatchedMesh("cpu")
    with FaceMesh(tracking=True) as graph:
        works = {
            "ours": lambda: [literal.find(picture, region, 0.5) for _ in range(repeats)],
            "MediaPipe's graph": lambda: [graph.find(picture) for _ in range(repeats)],
            "torch, batches of 24": lambda: batched.find_all([picture] * repeats, [region] * repeats),
        }
        turns = [{name: cost_of(work) for name, work in works.items()} for _ in range(rounds + 1)][1:]
    times = {name: [1000 * turn[name].cpu_seconds / repeats for turn in turns] for name in works}
    return [
        Figure(
            "face mesh by LiteRT",
            min(times["ours"]),
            "CPU ms a face",
            name,
            min(times[name]),
            tuple(a / b for a, b in zip(times["ours"], times[name], strict=True)),
        )
        for name in ("MediaPipe's graph", "torch, batches of 24")
    ]
