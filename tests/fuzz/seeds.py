"""The corpus of the fuzz test: small valid files of every kind, made anew each time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ffmpeg
import numpy as np
import torch
from PIL import Image
from upath import UPath

from storage.publishing import BuildReport, Recipe, materialise
from tests.factories.preprocessing.media import (
    AAC,
    MPEG1,
    MPEG4_MP3,
    PCM,
    VP8_OPUS,
    VP8_VORBIS,
    X264,
    X264_B_FRAMES,
    make_video,
    run_ffmpeg,
)
from tests.factories.preprocessing.media import Recipe as VideoRecipe
from tests.factories.training.data import make_data_set
from training.engine.stage_weights import write_weights

SECONDS: Final = 1.4
FRAGMENTS: Final = {"movflags": "+frag_keyframe+empty_moov"}
VIDEOS: Final = {
    "late.mp4": VideoRecipe(seconds=SECONDS),
    "fast.mp4": VideoRecipe(
        seconds=SECONDS, codecs={**X264_B_FRAMES, **AAC}, output={"movflags": "+faststart"}
    ),
    "fragments.mp4": VideoRecipe(seconds=SECONDS, output=FRAGMENTS),
    "a.m4v": VideoRecipe(seconds=SECONDS, output={"format": "mp4"}),
    "a.mov": VideoRecipe(".mov", seconds=SECONDS, codecs={**X264, **PCM}),
    "a.mkv": VideoRecipe(".mkv", seconds=SECONDS, codecs={**X264_B_FRAMES, **AAC}),
    "opus.webm": VideoRecipe(".webm", seconds=SECONDS, codecs=VP8_OPUS),
    "vorbis.webm": VideoRecipe(".webm", seconds=SECONDS, codecs=VP8_VORBIS),
    "a.avi": VideoRecipe(".avi", seconds=SECONDS, codecs=MPEG4_MP3),
    "a.mpg": VideoRecipe(".mpg", seconds=SECONDS, codecs=MPEG1),
    "transport.mpeg": VideoRecipe(seconds=SECONDS, output={"format": "mpegts"}),
}
IMAGES: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SOUNDS: Final = ("wav", "w64", "mp3", "flac", "ogg", "aac", "aiff", "au", "caf", "m4a", "mka")


@dataclass(frozen=True)
class Seed:
    """A valid file, and the folder that it belongs to."""

    kind: str
    path: Path
    folder: Path  # copied for each input, with the changed file in place of this one


def make_seeds(folder: Path) -> list[Seed]:
    """Write the corpus, less than a megabyte in all."""
    makers: dict[str, Callable[[Path], list[Path]]] = {
        "video": _videos,
        "image": _images,
        "sound": _sounds,
        "shard": _shards,
        "index": _index,
        "manifest": _manifests,
        "weights": _weights,
    }
    seeds: list[Seed] = []
    for kind, make in makers.items():
        place = folder / kind
        place.mkdir(parents=True)
        seeds += [Seed(kind, path, place) for path in make(place)]
    return seeds


def _videos(folder: Path) -> list[Path]:
    for name, recipe in VIDEOS.items():
        make_video(folder / name, recipe)
    return [folder / name for name in VIDEOS]


def _images(folder: Path) -> list[Path]:
    rows, columns = np.mgrid[:40, :56]
    picture = np.stack([rows * 6, columns * 4, (rows * columns) % 256], -1).astype(np.uint8)
    paths = [folder / f"a.{name.lower()}" for name in IMAGES]
    for path, name in zip(paths, IMAGES, strict=True):
        Image.fromarray(picture).save(path, name)
    return paths


def _sounds(folder: Path) -> list[Path]:
    paths = [folder / f"a.{suffix}" for suffix in SOUNDS]
    for path in paths:
        tone = ffmpeg.input("sine=frequency=440:duration=0.6:sample_rate=16000", format="lavfi")
        run_ffmpeg(ffmpeg.output(tone, str(path)))
    return paths


def _shards(folder: Path) -> list[Path]:
    make_data_set(folder, with_checksums=True)
    return sorted((folder / "assets").glob("*.tar"))


def _index(folder: Path) -> list[Path]:
    made = make_data_set(folder, with_checksums=True)
    return [made / "index.parquet", made / "statistics.json"]


def _manifests(folder: Path) -> list[Path]:
    def build(work: Path) -> BuildReport:
        (work / "table.txt").write_text("content")
        return BuildReport({"rows": 1}, {"too_short": 2})

    published = materialise(UPath(folder), Recipe("clips", "b00000", "1", {"setting": 1}, {}), build)
    home = Path(str(published.directory))
    return [home / "manifest.json", home.parent / "current.json"]


def _weights(folder: Path) -> list[Path]:
    tensors = {"layer.weight": torch.arange(600.0).reshape(20, 30), "layer.bias": torch.ones(20)}
    torch.save({"state_dict": tensors}, folder / "zip.pt")
    torch.save(tensors, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    write_weights(folder / "stage.safetensors", tensors)
    return [folder / "zip.pt", folder / "legacy.pth", folder / "stage.safetensors"]
