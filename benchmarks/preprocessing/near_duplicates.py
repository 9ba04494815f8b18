"""How many copies of recordings are found by landmarks of their sound, and how many others are taken for one.

Parts of each video's sound are encoded again at a low rate and matched with all whole sounds; so are the
whole sounds with each other. `--scale` times the search among as many random landmarks.

    python -m benchmarks.preprocessing.near_duplicates VIDEOS [--scale 20000000]
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import cost_of, show, write_json
from preprocessing.audio.sound_landmarks import LANDMARKS_TABLE, find_landmarks, write_landmarks
from preprocessing.dataset.near_duplicates import find_near_duplicates
from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, decode_sound
from preprocessing.media.encoding import find_ffmpeg
from preprocessing.schema import SAMPLE_RATE_HZ

Sound = NDArray[np.float32]
SECONDS: Final = (2.0, 3.0, 5.0)
ENCODINGS: Final[Mapping[str, dict[str, Any]]] = {
    "cut": {"acodec": "pcm_s16le", "format": "wav"},
    "AAC 48 kbit/s": {"acodec": "aac", "audio_bitrate": "48k", "ar": 44_100, "format": "adts"},
    "MP3 48 kbit/s, 22 kHz": {"acodec": "libmp3lame", "audio_bitrate": "48k", "ar": 22_050, "format": "mp3"},
    "Opus 24 kbit/s": {"acodec": "libopus", "audio_bitrate": "24k", "ar": 48_000, "format": "ogg"},
}


def encoded_again(sound: Sound, options: Mapping[str, Any]) -> Sound:
    """The sound at .4 of its level, encoded and decoded."""
    raw = {"format": "f32le", "ac": 1, "ar": SAMPLE_RATE_HZ}
    written, _ = ffmpeg.run(
        ffmpeg.output(ffmpeg.input("pipe:", **raw), "pipe:", **options),
        cmd=find_ffmpeg(),
        input=(0.4 * sound).astype(np.float32).tobytes(),
        capture_stdout=True,
        quiet=True,
    )
    read, _ = ffmpeg.run(
        ffmpeg.output(ffmpeg.input("pipe:"), "pipe:", **raw),
        cmd=find_ffmpeg(),
        input=written,
        capture_stdout=True,
        quiet=True,
    )
    return np.frombuffer(read, np.float32)


def read_sounds(videos: Path) -> dict[str, Sound]:
    """The sound of every video below a folder, by its place there."""
    sounds: dict[str, Sound] = {}
    for path in sorted(path for path in videos.rglob("*") if path.is_file()):
        try:
            sounds[str(path.relative_to(videos))] = decode_sound(path, DecodeSettings())
        except RefusedVideo as refusal:
            click.echo(f"{path.name}: {refusal}")
    return sounds


def measure(sounds: Mapping[str, Sound], folder: Path) -> list[list[Any]]:
    """A row for each encoding and length: copies, share found, pairs of others that were taken for copies."""
    rng = np.random.default_rng(0)
    originals = {name: find_landmarks(sound) for name, sound in sounds.items()}
    write_landmarks(originals, folder)
    others = find_near_duplicates([folder / LANDMARKS_TABLE])
    click.echo(f"{len(others)} of {len(sounds) * (len(sounds) - 1) // 2} pairs of videos taken for copies")
    for pair in others:
        click.echo(f"  {pair}")
    rows: list[list[Any]] = []
    for encoding, options in ENCODINGS.items():
        for seconds in SECONDS:
            copies: dict[str, Any] = {}
            samples = int(seconds * SAMPLE_RATE_HZ)
            for name, sound in list(sounds.items())[::2]:
                if len(sound) > samples:
                    start = int(rng.integers(0, len(sound) - samples))
                    part = encoded_again(sound[start : start + samples], options)
                    copies[f"copy of {name}"] = find_landmarks(part)
            write_landmarks({**originals, **copies}, folder)
            found = find_near_duplicates([folder / LANDMARKS_TABLE])
            pairs = [(each.video_id, each.other_video_id) for each in found]
            right = sum(pair[1] == pair[0].removeprefix("copy of ") for pair in pairs)
            wrong = len(pairs) - right - len(others)
            rows.append([encoding, seconds, len(copies), right / max(1, len(copies)), wrong])
    return rows


@click.command()
@click.argument("videos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--scale", default=0, help="Random landmarks to search among, in batches of 500,000.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(videos: Path, scale: int, json_path: Path | None) -> None:
    """Measure on VIDEOS."""
    with tempfile.TemporaryDirectory() as name:
        rows = measure(read_sounds(videos), Path(name))
        show(
            "Copies found by sound",
            ["encoding", "seconds", "copies", "found", "wrong pairs"],
            rows,
        )
        tables: list[Path] = []
        rng = np.random.default_rng(0)
        for number in range(scale // 500_000):
            folder = Path(name) / f"{number}"
            folder.mkdir()
            videos_of_batch = {
                f"{number}-{each}": (
                    np.sort(rng.integers(0, 2**31, 2_000)).astype(np.uint32),
                    rng.integers(0, 3_000, 2_000).astype(np.int32),
                )
                for each in range(250)
            }
            write_landmarks(videos_of_batch, folder)
            tables.append(folder / LANDMARKS_TABLE)
        if tables:
            cost = cost_of(lambda: find_near_duplicates(tables))
            click.echo(f"{scale:,} landmarks of {250 * len(tables):,} videos: {cost.cpu_seconds:.0f} CPU s")
    write_json(json_path, {"rows": rows})


if __name__ == "__main__":
    main()
