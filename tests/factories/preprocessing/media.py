"""Videos that the tests make themselves, whose truth is known because it was put in.

Every source picture carries its own number as twelve black or white blocks, and a thirteenth block
that flashes; a chirp sounds from exactly the time at which the flash's picture starts. So what a
decoder shows at any time can be read off the picture itself, and the position of the sound off
correlation, whatever the codecs do to both.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from preprocessing.media.encoding import find_ffmpeg

BLOCK_PX = 16
SIDE_PX = 4 * BLOCK_PX
FLASH_SECONDS = 0.08
CHIRP_SECONDS = 0.06
SECONDS_BETWEEN_FLASHES = 0.6

# Encoder options by container. High quality: the block pattern must survive, not look nice.
X264 = {"vcodec": "libx264", "preset": "ultrafast", "crf": 12, "pix_fmt": "yuv420p", "g": 12}
X264_B_FRAMES = {**X264, "preset": "veryfast", "bf": 3}
AAC = {"acodec": "aac", "audio_bitrate": 96_000}
PCM = {"acodec": "pcm_s16le"}
MPEG1 = {"vcodec": "mpeg1video", "qscale:v": 2, "acodec": "mp2"}
MPEG2 = {"vcodec": "mpeg2video", "qscale:v": 2, "acodec": "mp2"}
THEORA_VORBIS = {"vcodec": "libtheora", "qscale:v": 10, "acodec": "libvorbis"}
WINDOWS_MEDIA = {"vcodec": "wmv2", "qscale:v": 2, "acodec": "wmav2"}
MPEG4_MP3 = {"vcodec": "mpeg4", "qscale:v": 2, "acodec": "libmp3lame"}
VP8_VORBIS = {
    "vcodec": "libvpx",
    "deadline": "realtime",
    "cpu-used": 8,
    "video_bitrate": 1_000_000,
    "acodec": "libvorbis",
}
VP8_OPUS = {**VP8_VORBIS, "acodec": "libopus"}


@dataclass(frozen=True)
class Recipe:
    """What a test video is made of; times in seconds on the truth's clock."""

    suffix: str = ".mp4"
    fps: Fraction = Fraction(25)
    seconds: float = 3.0
    sample_rate_hz: int = 48_000
    channels: int = 2
    video_offset_seconds: float = 0.0
    audio_offset_seconds: float = 0.0
    kept: Sequence[int] | None = None  # numbers of the pictures that are kept: a varying frame rate
    codecs: Mapping[str, object] = field(default_factory=lambda: {**X264, **AAC})
    output: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def numbers(self) -> list[int]:
        """Numbers of the pictures in the file, in order."""
        return list(self.kept) if self.kept is not None else list(range(round(self.seconds * self.fps)))

    def time_of(self, number: int) -> float:
        """When picture `number` starts."""
        return float(number / self.fps) + self.video_offset_seconds

    @property
    def flash_numbers(self) -> list[int]:
        """Numbers of the pictures that start a flash: a multiple of 0.6 s, at the next picture."""
        wanted = np.arange(SECONDS_BETWEEN_FLASHES, self.seconds - 0.3, SECONDS_BETWEEN_FLASHES)
        return [int(np.ceil(time * float(self.fps) - 1e-9)) for time in wanted]

    @property
    def chirp_times(self) -> list[float]:
        """When the chirps start: with their flashes."""
        return [self.time_of(number) for number in self.flash_numbers]


def chirp(sample_rate_hz: int) -> NDArray[np.float32]:
    """300 to 3000 Hz in `CHIRP_SECONDS`, amplitude 0.7."""
    time = np.arange(round(CHIRP_SECONDS * sample_rate_hz)) / sample_rate_hz
    phase = 2 * np.pi * (300 * time + 2700 * time**2 / (2 * CHIRP_SECONDS))
    return (0.7 * np.sin(phase)).astype(np.float32)


def draw_picture(number: int, flashes: bool) -> NDArray[np.uint8]:
    """[64, 64, 3]: `number` in binary in rows 0 to 2 of blocks, the flash in the whole of row 3."""
    blocks = np.zeros((4, 4), np.uint8)
    blocks[:3] = np.array([(number >> bit) & 1 for bit in range(12)]).reshape(3, 4)
    blocks[3] = flashes
    grey = np.kron(16 + 220 * blocks, np.ones((BLOCK_PX, BLOCK_PX), np.uint8)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def read_number(image: NDArray[np.uint8]) -> int:
    """The number that `draw_picture` put in."""
    middle = image[BLOCK_PX // 2 :: BLOCK_PX, BLOCK_PX // 2 :: BLOCK_PX, 1] > 128
    return int(sum(1 << bit for bit, is_white in enumerate(middle[:3].reshape(-1)) if is_white))


def make_sound(recipe: Recipe) -> NDArray[np.float32]:
    """[n, channels]: the chirps; in 5.1 only in the centre channel, as speech is."""
    rate = recipe.sample_rate_hz
    mono = np.zeros(round(recipe.seconds * rate), np.float32)
    for time in recipe.chirp_times:
        start = round((time - recipe.audio_offset_seconds) * rate)
        piece = chirp(rate)[: max(0, len(mono) - start)]
        if start >= 0:
            mono[start : start + len(piece)] = piece
    sound = np.zeros((len(mono), recipe.channels), np.float32)
    sound[:, 2 if recipe.channels == 6 else slice(None)] = mono if recipe.channels == 6 else mono[:, None]
    return sound


def make_video(path: Path, recipe: Recipe) -> None:
    """Write the video of `recipe` at `path` with the ffmpeg program."""
    sound_path = path.with_name(path.name + ".f32")
    sound_path.write_bytes(make_sound(recipe).tobytes())
    flash_pictures = {
        number + step
        for number in recipe.flash_numbers
        for step in range(int(np.ceil(FLASH_SECONDS * recipe.fps)))
    }
    total = round(recipe.seconds * recipe.fps)
    pictures = b"".join(draw_picture(number, number in flash_pictures).tobytes() for number in range(total))
    video = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{SIDE_PX}x{SIDE_PX}", framerate=str(recipe.fps)
    ).video
    audio = ffmpeg.input(
        str(sound_path), format="f32le", ar=recipe.sample_rate_hz, channel_layout=layout_name(recipe.channels)
    ).audio
    options: dict[str, object] = {"fps_mode": "vfr", "threads": 1, **recipe.codecs, **recipe.output}
    if recipe.kept is not None:
        video = video.filter("select", one_of(recipe.kept))
    if recipe.video_offset_seconds:
        video = video.filter("settb", "1/90000").filter("setpts", f"PTS+{recipe.video_offset_seconds}/TB")
        options["enc_time_base:v"] = "1/90000"
    if recipe.audio_offset_seconds:
        audio = audio.filter("asetpts", f"PTS+{recipe.audio_offset_seconds}/TB")
    run_ffmpeg(ffmpeg.output(video, audio, str(path), **options), pictures)
    sound_path.unlink()


def one_of(numbers: Sequence[int]) -> str:
    """FFmpeg expression that holds for pictures of these numbers: a balanced tree, as depth is limited."""
    if len(numbers) == 1:
        return f"eq(n,{numbers[0]})"
    middle = len(numbers) // 2
    return f"({one_of(numbers[:middle])}+{one_of(numbers[middle:])})"


def layout_name(channels: int) -> str:
    """FFmpeg's name of the usual layout."""
    return {1: "mono", 2: "stereo", 6: "5.1"}[channels]


def run_ffmpeg(output: Any, standard_input: bytes = b"") -> None:
    """Run the ffmpeg program; its error text is in the exception."""
    command = ffmpeg.compile(
        output.global_args("-loglevel", "error"), cmd=find_ffmpeg(), overwrite_output=True
    )
    result = subprocess.run(command, input=standard_input, capture_output=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.decode("utf-8", "replace"))
