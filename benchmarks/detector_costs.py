"""What a look for faces at a whole picture costs: CPU milliseconds, and of those the network's alone.

`face_tracks` looks every 25th to 50th frame. InsightFace's detector runs random weights in a network of the
published one's layers (`scrfd_network`): what it finds is worth nothing. Pictures hold nobody.

    python -m benchmarks.detector_costs [--looks N] [--json FILE]
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.measuring import cpu_seconds, show, write_json
from benchmarks.scrfd_network import write_scrfd_10g
from preprocessing.faces.mesh import FaceDetector
from preprocessing.labellers.faces_insightface import INPUT_SIDE_PX, THREADS, ScrfdDetector
from preprocessing.labellers.networks import open_onnx

PICTURES: Final = ((360, 288), (1920, 1080))  # width, height


def milliseconds(look: Callable[[], object], looks: int) -> float:
    """CPU time of one look; the first is not counted."""
    look()
    start = cpu_seconds()
    for _ in range(looks):
        look()
    return 1000 * (cpu_seconds() - start) / looks


@click.command()
@click.option("--looks", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(looks: int, json_path: Path | None) -> None:
    """Measure both detectors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scrfd.onnx"
        weights = write_scrfd_10g(path)
        session = open_onnx(path, THREADS)
        seen = {"picture": np.zeros((1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), np.float32)}
        alone = milliseconds(lambda: session.run(None, seen), looks)
        detectors = {"mediapipe": FaceDetector(), "insightface": ScrfdDetector(path, 1.0)}
    rows: list[tuple[str, float, float | None]] = []
    for name, detector in detectors.items():
        for width, height in PICTURES:
            picture = np.zeros((height, width, 3), np.uint8)
            cost = milliseconds(lambda detector=detector, picture=picture: detector.find(picture), looks)
            of_network = alone if name == "insightface" else None
            rows.append((f"{name}, {width} x {height}", cost, of_network))
        detector.close()
    head = ("detector", "CPU ms a look", "network alone")
    shown = [(name, cost, "" if told is None else told) for name, cost, told in rows]
    show(f"{looks} looks; SCRFD of {weights:,} weights", head, shown)
    figures = {name: dict(zip(head[1:], told, strict=True)) for name, *told in rows}
    write_json(json_path, {**figures, "weights": weights})


if __name__ == "__main__":
    main()
