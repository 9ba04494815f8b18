"""Write pictures and sound to an mp4 that every player takes, through the ffmpeg program.

Used for the demo corpus and for generated videos. The same input gives the same bytes with the same
ffmpeg build: no dates, no encoder version, a fixed number of threads.
"""

import contextlib
import errno
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storage.disk import disk_errors_at
from storage.settings import Settings

STDERR_LINES_SHOWN = 15
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FULL_BELOW_BYTES = 64 * 1024


class EncodeSettings(Settings):
    """How a video is written: H.264 (yuv420p, BT.709) and AAC."""

    constant_rate_factor: int = Field(
        default=18, ge=0, le=51, description="x264 quality: 0 lossless, 18 visually lossless, 51 worst"
    )
    preset: str = Field(default="veryfast", description="x264 preset: speed against size")
    keyframe_interval: int = Field(
        default=25, ge=1, description="Frames between keyframes, which is what a seek has to decode"
    )
    sound_bits_per_second: int = Field(default=128_000, ge=1)
    threads: int = Field(default=1, ge=1, description="x264 threads; another number gives other bytes")


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: int | float | Fraction,
    sound: NDArray[np.float32] | None = None,
    sample_rate_hz: int = 16_000,
    settings: EncodeSettings | None = None,
) -> None:
    """Write an mp4 at `path`, atomically.

    Args:
        path: in an existing folder; a file there is replaced.
        frames: at least one [H, W, 3] uint8 RGB, H and W even, all of one size; consumed one by one.
        fps: frames per second; a `Fraction` for rates like 30000/1001.
        sound: [n] float32 mono or [n, channels], within [-1, 1], from the first frame on; or None.
        sample_rate_hz: of `sound`.
        settings: the defaults of `EncodeSettings` if None.

    Raises:
        ValueError: no frame, odd or changing sizes, or another dtype.
        FileNotFoundError: there is no ffmpeg program.
        RuntimeError: ffmpeg fails; with its last lines.
        DiskError: the disk is full or read-only, or the user has no permission.
    """
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise ValueError(f"{path}: no frame to write")
    height, width = _checked(first, first.shape).shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"{path}: frames are {width} x {height}, H.264 in yuv420p needs even sides")
    checked = (_checked(frame, first.shape) for frame in itertools.chain([first], stream))
    prefix = f".{path.stem[:40]}."
    with disk_errors_at(path), tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
        part = Path(folder) / "video.mp4"
        inputs = [
            ffmpeg.input(
                "pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=str(fps)
            )
        ]
        if sound is not None:
            inputs.append(_sound_input(Path(folder) / "sound.f32", sound, sample_rate_hz))
        command = _command(inputs, part, settings or EncodeSettings())
        _run(command, checked, Path(folder) / "stderr.txt")
        part.replace(path)


def _checked(frame: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise ValueError(
            f"frame is {frame.dtype}{list(frame.shape)}, need uint8{list(shape)} with 3 channels"
        )
    return frame


def _sound_input(
    path: Path, sound: NDArray[np.float32], sample_rate_hz: int
) -> ffmpeg.nodes.FilterableStream:
    """Sound goes through a file: only one stream fits the pipe."""
    if sound.dtype != np.float32 or sound.ndim not in (1, 2):
        raise ValueError(f"sound is {sound.dtype}{list(sound.shape)}, need float32 [n] or [n, channels]")
    path.write_bytes(np.ascontiguousarray(sound).tobytes())
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    return ffmpeg.input(str(path), format="f32le", ar=sample_rate_hz, ac=channels)


def _command(inputs: list[ffmpeg.nodes.FilterableStream], part: Path, settings: EncodeSettings) -> list[str]:
    options = {
        "vcodec": "libx264",
        "preset": settings.preset,
        "crf": settings.constant_rate_factor,
        "g": settings.keyframe_interval,
        "threads": settings.threads,
        "vf": "scale=out_color_matrix=bt709:out_range=tv",
        "pix_fmt": "yuv420p",
        "colorspace": "bt709",
        "color_primaries": "bt709",
        "color_trc": "bt709",
        "color_range": "tv",
        "movflags": "+faststart",
        "map_metadata": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
    }
    if len(inputs) > 1:
        options |= {"acodec": "aac", "audio_bitrate": settings.sound_bits_per_second, "flags:a": "+bitexact"}
    output = ffmpeg.output(*inputs, str(part), **options).global_args("-loglevel", "error", "-nostdin")
    return [str(word) for word in ffmpeg.compile(output, cmd=find_ffmpeg())]


def _run(command: list[str], frames: Iterator[NDArray[np.uint8]], stderr_path: Path) -> None:
    # Standard error goes to a file: with a full pipe ffmpeg would stop reading frames.
    with stderr_path.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr)
        assert process.stdin is not None
        try:
            # Broken pipe: ffmpeg ended early; its exit status and last lines say why.
            with contextlib.suppress(BrokenPipeError):
                for frame in frames:
                    process.stdin.write(np.ascontiguousarray(frame).data)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait()
        finally:
            if process.poll() is None:  # the frames' own error, or an interrupt
                process.kill()
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                process.wait()
    if status != 0:
        lines = stderr_path.read_text("utf-8", "replace").splitlines()[-STDERR_LINES_SHOWN:]
        message = f"ffmpeg failed with exit status {status}: " + "\n".join(lines)
        # On a full disk its own message may have found no room.
        is_full = shutil.disk_usage(stderr_path.parent).free < FULL_BELOW_BYTES
        for number in DISK_ERRORS:
            if os.strerror(number) in message or (is_full and number == errno.ENOSPC):
                raise OSError(number, os.strerror(number))
        raise RuntimeError(message)


def find_ffmpeg() -> str:
    """Path of the ffmpeg program: from PATH, otherwise the binary of the package imageio-ffmpeg.

    Only writing uses it; reading goes through PyAV, which has FFmpeg's libraries of its own.

    Raises:
        FileNotFoundError: there is neither.
    """
    on_path = shutil.which("ffmpeg")
    if on_path is not None:
        return on_path
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise FileNotFoundError(
            "no ffmpeg program: put ffmpeg on PATH, or install imageio-ffmpeg with its binary"
        ) from error
