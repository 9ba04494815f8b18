"""Read pictures and sound of stills, videos with or without sound, and sound files.

Pictures are on the 25 fps grid of `preprocessing.media.decoding`, sound on the same timeline, so both of one
file are in sync. Imports FFmpeg's libraries.
"""

import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from preprocessing.media.container import (
    RefusedVideo,
    decode_tolerantly,
    demux_tolerantly,
    failure,
    stream_start,
)
from preprocessing.media.decoding import DecodeSettings, VideoFrame, decode_sound, open_video
from preprocessing.media.limits import MediaLimits
from preprocessing.media.sound import SoundTrack
from preprocessing.media.streams import SURVEYED_SECONDS, SoundSurvey

STILL_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Pillow's names; the first picture of an animated one is used."""
HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
DEEP_WHITES: Final = (1.0, 255.0, 65_535.0)  # of floats, of 8-bit values in a deeper mode, of 16 bits
PLAIN_GREY: Final = (128, 128, 128, 255)
SOUND_DEMUXERS: Final = ("wav", "w64", "mp3", "flac", "ogg", "aac", "aiff", "au", "caf", "mov", "matroska")
SILENT_PEAK: Final = 1e-4  # -80 dB of full scale, below which mel features cannot amplify


def read_still(path: Path) -> NDArray[np.uint8] | None:
    """A still picture as [H, W, 3] RGB, rotated as its metadata says; None if the file is no still.

    Raises:
        ValueError: the picture cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours, and smaller
            opened = Image.open(path, formats=_heif_format() if _is_heic(path) else STILL_FORMATS)
        with opened:
            MediaLimits().check_size(*opened.size)  # in the header: nothing is decoded yet
            return _to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        if _is_heic(path):
            raise UnusableInputError(f"{path}: this picture cannot be read: damaged HEIC") from error
        return None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UnusableInputError(f"{path}: this picture cannot be read: {error}") from error
    except RefusedVideo as refusal:
        raise UnusableInputError(f"{path}: this picture is {refusal.detail}") from refusal


def _to_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """[H, W, 3] of a picture of any mode: deep greys scaled to 8 bits, transparency over a plain grey."""
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 or 32 bits a pixel, or floats
        values = np.nan_to_num(np.asarray(picture, np.float64))
        whites = DEEP_WHITES[-1:] if picture.mode.startswith("I;16") else DEEP_WHITES
        white = next((white for white in whites if values.max(initial=0.0) <= white), values.max())
        grey = np.round(255.0 / white * values.clip(0.0)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        plain = Image.new("RGBA", picture.size, PLAIN_GREY)
        picture = Image.alpha_composite(plain, picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"), np.uint8)


def _is_heic(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


@cache
def _heif_format() -> tuple[str]:
    """Pillow's name of HEIF, which a package of libheif and libde265 adds (no encoder, LGPL-3.0)."""
    import pi_heif

    # What else a phone's file holds may be damaged without harm.
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return ("HEIF",)


def read_pictures(path: Path) -> Iterator[VideoFrame]:
    """A video's pictures with consecutive grid indices; the first one may be above 0.

    Raises:
        ValueError: the file is no video or cannot be read.
    """
    with errors_naming(path), open_video(path, DecodeSettings(), may_be_silent=True) as video:
        yield from video


def read_sound(path: Path) -> NDArray[np.float32]:
    """A video's or a sound file's sound, [n] mono at 16 kHz; two hours take 460 MB.

    Raises:
        ValueError: there is none, it is silent, or it cannot be read.
    """
    with errors_naming(path):
        try:
            sound = decode_sound(path, DecodeSettings())
        except RefusedVideo as refusal:
            if refusal.reason not in ("no_video", "not_a_video"):
                raise
            sound = _read_sound_file(path)
    if not len(sound):
        raise ValueError(f"{path}: the sound is empty")
    level = float(np.abs(sound).max())
    if level < SILENT_PEAK:
        raise ValueError(f"{path}: the sound is silent (peak {level:.1e} of full scale)")
    return sound


def _read_sound_file(path: Path) -> NDArray[np.float32]:
    survey = SoundSurvey()
    with _open_sound_file(path) as container:
        for frame in _sound_frames(container):
            survey.add(frame)
            if survey.seconds > SURVEYED_SECONDS:
                break
    blocks: list[NDArray[np.float32]] = []
    with _open_sound_file(path) as container:
        zero = stream_start(container.streams.audio[0])
        track = SoundTrack(zero, blocks.append, MediaLimits(), channel=survey.better_channel)
        for frame in _sound_frames(container):
            track.add(frame)
        track.finish()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _open_sound_file(path: Path) -> InputContainer:
    locks = {"protocol_whitelist": "file", "format_whitelist": ",".join(SOUND_DEMUXERS)}
    try:
        return av.open(str(path.absolute()), "r", container_options=locks, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise RefusedVideo("unreadable", "neither a sound file nor a video that can be read") from error


def _sound_frames(container: InputContainer) -> Iterator[AudioFrame]:
    if not container.streams.audio:
        raise RefusedVideo("no_sound", "no sound stream")
    MediaLimits().check_headers(container, None)
    for packet in demux_tolerantly(container, [container.streams.audio[0]], lambda: None):
        for frame in decode_tolerantly(packet, lambda: None):
            if isinstance(frame, AudioFrame):
                yield frame


class UnusableInputError(ValueError):
    """A portrait, a driver or a sound that cannot be used; the message names the file."""


@contextmanager
def errors_naming(path: Path) -> Generator[None]:
    """Turn a refusal, and any other exception of reading a file, into a one-line error that names the file.

    Raises:
        UnusableInputError: in place of `RefusedVideo` and of what nothing foresees.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        yield
    except UnusableInputError:
        raise
    except RefusedVideo as refusal:
        raise UnusableInputError(f"{path}: {refusal.detail}") from refusal
    except Exception as error:  # files of strangers: see `face_tracks.track_video`
        raise UnusableInputError(f"{path}: reading it failed: {failure(error)}") from error
