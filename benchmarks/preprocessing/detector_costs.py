"""Cost of detecting faces in a whole picture: CPU milliseconds, in total and of the network alone.

`face_tracks` detects in every 25th to 50th frame. InsightFace's detector runs a network with the published
layers and random weights (`scrfd_network`), so its detections are meaningless. The pictures are black.

    python -m benchmarks.preprocessing.detector_costs [--runs N] [--json FILE]
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.measuring import cpu_seconds, show, write_json
from benchmarks.preprocessing.scrfd_network import write_scrfd_10g
from preprocessing.faces.mesh import FaceDetector
from preprocessing.labellers.faces_insightface import INPUT_SIDE_PX, THREADS, ScrfdDetector
from preprocessing.labellers.networks import open_onnx

PICTURES: Final = ((360, 288), (1920, 1080))  # width, height


def milliseconds(detect: Callable[[], object], runs: int) -> float:
    """CPU time of one call, without a first one to warm up."""
    detect()
    start = cpu_seconds()
    for _ in range(runs):
        detect()
    return 1000 * (cpu_seconds() - start) / runs


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True, help="Detections each.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(runs: int, json_path: Path | None) -> None:
    """Measure both detectors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scrfd.onnx"
        weights = write_scrfd_10g(path)
        session = open_onnx(path, THREADS)
        network_input = {"picture": np.zeros((1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), np.float32)}
        alone = milliseconds(lambda: session.run(None, network_input), runs)
        detectors = {"mediapipe": FaceDetector(), "insightface": ScrfdDetector(path, 1.0)}
    rows: list[tuple[str, float, float | None]] = []
    for name, detector in detectors.items():
        for width, height in PICTURES:
            picture = np.zeros((height, width, 3), np.uint8)
            cost = milliseconds(lambda detector=detector, picture=picture: detector.find(picture), runs)
            of_network = alone if name == "insightface" else None
            rows.append((f"{name}, {width} x {height}", cost, of_network))
        detector.close()
    columns = ("detector", "CPU ms", "network alone")
    table = [(name, cost, "" if network is None else network) for name, cost, network in rows]
    show(f"{runs} detections; SCRFD of {weights:,} weights", columns, table)
    results = {name: dict(zip(columns[1:], values, strict=True)) for name, *values in rows}
    write_json(json_path, {**results, "weights": weights})


if __name__ == "__main__":
    main()
