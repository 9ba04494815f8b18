"""Cost per frame of the preprocessing chain, compared with a floor and with a usual script.

The floor is one decode, one inference by MediaPipe's graph and one 224 x 224 JPEG per frame. The script is
the usual one: ffmpeg to JPEG files on disk, a face mesh in static mode on each, crop, write. The chain is
every step from `face_tracks` to `shards`. All three run in this process on the same videos, after a warm-up
of each, alternating in rounds, so that other load slows all three. CPU time of all threads counts; OpenCV,
OpenBLAS and OpenMP have one thread each, as in the pipeline's workers.

    python -m benchmarks.preprocessing.preprocess VIDEO_FOLDER [--limit 6] [--json FILE]
    python -m benchmarks.preprocessing.preprocess VIDEO_FOLDER --profile  # the chain's functions by own time
    python -m benchmarks.preprocessing.preprocess VIDEO_FOLDER --memory  # 10 minutes of 1080p, peak memory
"""

import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocessing.process_pool import ONE_THREAD

os.environ.update(ONE_THREAD)  # read when numpy is loaded, so before the imports below

import av
import click
import cv2
import numpy as np
from numpy.typing import NDArray
from upath import UPath

from benchmarks.measuring import Cost, cost_of, show, write_json
from benchmarks.preprocessing.track_one import PEAK_NAME
from preprocessing.media.container import VIDEO_SUFFIXES
from preprocessing.media.encoding import find_ffmpeg
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.schema import CROP_SIDE_PX
from storage.fingerprint import file_sha256

JPEG_QUALITY = 95
PROFILED_FUNCTIONS = 40


def find_videos(folder: Path, limit: int) -> list[Path]:
    """Videos spread over the folder's identities: the first of each, then the second, and so on."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise click.ClickException(f"{folder} has no video")
    rank: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    for path in paths:
        rank[path] = counts.get(path.parent, 0)
        counts[path.parent] = rank[path] + 1
    return sorted(paths, key=lambda path: (rank[path], path))[:limit]


def bare_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode only."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def run_floor(videos: list[Path], mesh: Any) -> int:
    """One decode, one inference, one encode; returns the number of frames."""
    frames = 0
    for path in videos:
        for image in bare_frames(path):
            mesh.process(image)
            crop = cv2.resize(image, (CROP_SIDE_PX, CROP_SIDE_PX))
            cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            frames += 1
    return frames


def run_script(videos: list[Path], mesh: Any, folder: Path) -> None:
    """Ffmpeg to JPEG files, static mesh on each, crop, write."""
    for number, path in enumerate(videos):
        pictures = folder / f"{number}"
        crops = folder / f"{number}_crops"
        pictures.mkdir()
        crops.mkdir()
        command = [find_ffmpeg(), "-v", "error", "-i", str(path), "-threads", "1"]
        subprocess.run([*command, "-r", "25", "-q:v", "2", str(pictures / "%06d.jpg")], check=True)
        subprocess.run([*command, "-ar", "16000", "-ac", "1", str(folder / f"{number}.wav")], check=True)
        for picture in sorted(pictures.iterdir()):
            image = cv2.imread(str(picture))
            assert image is not None
            faces = mesh.process(np.ascontiguousarray(image[..., ::-1])).multi_face_landmarks
            if not faces:
                continue
            points = np.array([(point.x, point.y) for point in faces[0].landmark]) * image.shape[1::-1]
            low = np.maximum(points.min(axis=0) - 20, 0).astype(int)
            high = (points.max(axis=0) + 20).astype(int)
            crop = cv2.resize(image[low[1] : high[1], low[0] : high[0]], (CROP_SIDE_PX, CROP_SIDE_PX))
            cv2.imwrite(str(crops / picture.name), crop)


def run_chain(videos: list[Path], root: Path, key: str) -> dict[str, Cost]:
    """Every step of one batch, in this process; the cost of each."""
    sources = tuple(SourceVideo(file_sha256(path)[:16], path, path.name, path.parent.name) for path in videos)
    batch = VideoBatch(key, sources)
    return {
        name: cost_of(
            lambda name=name: run_step(UPath(root), name, batch, PreprocessingSettings(), workers=0)
        )
        for name in STEPS
    }


def measure(videos: list[Path], rounds: int, folder: Path) -> tuple[int, list[dict[str, float]]]:
    """Frames of a round; of each round, CPU seconds of floor, every step, all of them and the script."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    tracking = FaceMesh(max_num_faces=1, refine_landmarks=True)
    static = FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
    (folder / "warm").mkdir()
    run_chain(videos[:1], folder / "warm_root", "warm-up")
    run_floor(videos[:1], tracking)
    run_script(videos[:1], static, folder / "warm")
    frames = 0
    results: list[dict[str, float]] = []

    def floor() -> None:
        nonlocal frames
        frames = run_floor(videos, tracking)

    for number in range(rounds):
        script_folder = folder / f"script{number}"
        script_folder.mkdir()
        costs = {"floor": cost_of(floor)}
        costs |= run_chain(videos, folder / f"root{number}", "measured")
        costs["script"] = cost_of(lambda place=script_folder: run_script(videos, static, place))
        seconds = {name: cost.cpu_seconds for name, cost in costs.items()}
        results.append(seconds | {"chain": sum(seconds[name] for name in STEPS)})
    return frames, results


def compare(videos: list[Path], rounds: int, json_path: Path | None) -> None:
    """Run all three and print the tables."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        frames, by_round = measure(videos, rounds, Path(folder))
    frames *= rounds
    seconds = {name: sum(each[name] for each in by_round) for name in by_round[0]}
    results = {f"{name}_ms_per_frame": 1000 * value / frames for name, value in seconds.items()}
    results |= {
        "frames": frames / rounds,
        "rounds": rounds,
        "videos": len(videos),
        "chain_over_floor": seconds["chain"] / seconds["floor"],
        "script_over_chain": seconds["script"] / seconds["chain"],
        "script_over_floor": seconds["script"] / seconds["floor"],
    }
    rows = [
        (
            f"  {name}" if name in STEPS else name,
            1000 * seconds[name] / frames,
            seconds[name] / seconds["floor"],
        )
        for name in ("floor", *STEPS, "chain", "script")
    ]
    title = f"{frames // rounds} frames of {len(videos)} videos, {rounds} rounds"
    show(title, ("", "CPU ms per frame", "ratio to floor"), rows)
    show("", ("target", "measured"), [("chain over floor <= 0.75", results["chain_over_floor"])])
    show("", ("target", "measured"), [("script over chain >= 2.5", results["script_over_chain"])])
    write_json(json_path, results)


def profile(videos: list[Path]) -> None:
    """Print the functions of the chain that take the most CPU time themselves, after a warm-up."""
    cv2.setNumThreads(1)
    profiler = cProfile.Profile(time.process_time)
    with tempfile.TemporaryDirectory() as folder:
        run_chain(videos[:1], Path(folder) / "warm", "warm-up")
        profiler.runcall(run_chain, videos, Path(folder) / "root", "measured")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(PROFILED_FUNCTIONS)


def measure_memory(video: Path, minutes: float, json_path: Path | None) -> None:
    """Peak memory of tracking a long 1080p video, a loop of `video`, measured by the tracker's process."""
    with tempfile.TemporaryDirectory() as folder:
        long_video = Path(folder) / "long.mp4"
        seconds = 60.0 * minutes
        size = "scale=1920:1080:force_original_aspect_ratio=decrease,pad=1920:1080:-1:-1,setsar=1"
        command = [find_ffmpeg(), "-v", "error", "-stream_loop", "-1", "-i", str(video), "-t", f"{seconds}"]
        codec = ["-vf", size, "-r", "25", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]
        subprocess.run([*command, *codec, str(long_video)], check=True)
        tracker = [sys.executable, "-m", "benchmarks.preprocessing.track_one", str(long_video), folder]
        subprocess.run(tracker, check=True)
        peak = float((Path(folder) / PEAK_NAME).read_text())
    show(f"{minutes:g} minutes of 1080p", ("", "MiB"), [("peak memory of the tracker", peak)])
    write_json(json_path, {"minutes": minutes, "peak_mebibytes": peak})


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--limit", default=6, help="Videos to use.")
@click.option("--rounds", default=1, help="Rounds of floor, chain and script.")
@click.option("--profile", "is_profiled", is_flag=True, help="Profile the chain instead.")
@click.option("--memory", is_flag=True, help="Measure peak memory on 10 minutes of 1080p instead.")
@click.option("--minutes", default=10.0, help="Length of the 1080p video.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    folder: Path,
    limit: int,
    rounds: int,
    is_profiled: bool,
    memory: bool,
    minutes: float,
    json_path: Path | None,
) -> None:
    """Compare the chain with the floor and with the usual script."""
    videos = find_videos(folder, limit)
    if is_profiled:
        profile(videos)
    elif memory:
        measure_memory(videos[0], minutes, json_path)
    else:
        compare(videos, rounds, json_path)


if __name__ == "__main__":
    main()
