"""Which picture and which sound of a file are read, where it has several; which channel of a stereo sound."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocessing.media.container import (
    RefusedVideo,
    decode_tolerantly,
    demux_tolerantly,
    open_media,
    stream_start,
)

_AnyStream = TypeVar("_AnyStream", VideoStream, AudioStream)
SURVEYED_SECONDS: Final = 60.0  # of each of several sound streams, and of a stereo one
FRAMES_AT_ONCE: Final = 64
SILENT_DBFS: Final = -60.0  # of the loudest packet
# Uncorrelated channels, or one alone, lose 3 to 6 dB in a mono mix; out of phase, both lose nearly all.
CANCELLED_DB: Final = 10.0


@dataclass(frozen=True)
class ChosenStreams:
    """The two streams that are read."""

    video: VideoStream
    audio: AudioStream
    note: str = ""  # which were chosen, where the file has more; which channel, where they cancel
    channel: int | None = None  # of the sound, to be read alone; None: the mono mix


class SoundSurvey:
    """Takes decoded frames of one sound stream.

    Attributes:
        seconds: of sound so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._loudest_dbfs = -math.inf
        self._energies = np.zeros(2)  # of both channels of stereo frames
        self._mixed = 0.0  # of their mean
        self._waiting: list[NDArray[Any]] = []  # frames [channels, n] of one kind
        self._kind: tuple[str, int, int] = ("", 0, 0)  # their format, channels, n

    def add(self, frame: AudioFrame) -> None:
        """Add the next frame."""
        samples = _channels(frame)
        if not samples.size:
            return
        self.seconds += frame.samples / frame.sample_rate
        kind = frame.format.name, samples.shape[0], samples.shape[1]
        if kind != self._kind or len(self._waiting) == FRAMES_AT_ONCE:
            self._measure()
        self._kind = kind
        self._waiting.append(samples)

    @property
    def loudest_dbfs(self) -> float:
        """Level of the loudest frame, all channels, relative to full scale; -inf without frames."""
        self._measure()
        return self._loudest_dbfs

    def _measure(self) -> None:
        """Measure the frames that wait, many at once: a call of numpy costs as much as a frame."""
        if not self._waiting:
            return
        frames = _relative_to_full_scale(np.stack(self._waiting), self._kind[0])  # [F, channels, n]
        self._waiting = []
        powers = np.einsum("fcn,fcn->fc", frames, frames)
        level = float(powers.sum(axis=1).max()) / (frames.shape[1] * frames.shape[2])
        self._loudest_dbfs = max(self._loudest_dbfs, 10.0 * math.log10(max(level, 1e-12)))
        if frames.shape[1] == 2:
            self._energies += powers.sum(axis=0)
            mixed = frames.mean(axis=1)
            self._mixed += float(np.einsum("fn,fn->", mixed, mixed))

    @property
    def better_channel(self) -> int | None:
        """The louder channel of a stereo sound whose mono mix is lower by `CANCELLED_DB`; else None."""
        self._measure()
        channel = int(np.argmax(self._energies))
        loudest = float(self._energies[channel])
        is_cancelled = loudest > 0.0 and self._mixed * 10.0 ** (CANCELLED_DB / 10.0) < loudest
        return channel if is_cancelled else None


def choose_streams(container: InputContainer) -> ChosenStreams:
    """One video stream that is no cover picture and one sound stream, of those that can be decoded.

    Where there are several: the one that the file marks as default, then the first; a sound stream that is
    silent in its first minute comes after one that is not. Of a stereo sound whose channels are out of phase
    in that minute, so that a mono mix would cancel, one channel is chosen.

    Raises:
        RefusedVideo: `no_video`, `no_sound`, or `unreadable` where FFmpeg has no decoder.
    """
    videos = _pictures(container)
    if not container.streams.audio:
        raise RefusedVideo("no_sound", "no sound stream")
    video = _in_order_of_choice(videos)[0]
    sounds = _in_order_of_choice(container.streams.audio)
    audio, surveys = sounds[0], dict[int, SoundSurvey]()
    if len(sounds) > 1 or audio.codec_context.channels == 2:
        surveys = _survey(Path(container.name), [stream.index for stream in sounds])
        heard = [stream for stream in sounds if surveys[stream.index].loudest_dbfs >= SILENT_DBFS]
        audio = heard[0] if heard else audio
    channel = surveys[audio.index].better_channel if audio.index in surveys else None
    note = _describe_choice([*videos, *sounds], (video, audio), surveys)
    if channel is not None:
        cancels = f"reads channel {channel + 1} of audio {audio.index}, whose two are out of phase"
        note = "; ".join(filter(None, [note, cancels]))
    return ChosenStreams(video, audio, note, channel)


def choose_video(container: InputContainer) -> VideoStream:
    """The video stream, as `choose_streams`.

    Raises:
        RefusedVideo: `no_video`, or `unreadable` where FFmpeg has no decoder.
    """
    return _in_order_of_choice(_pictures(container))[0]


def _pictures(container: InputContainer) -> list[VideoStream]:
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not videos:
        raise RefusedVideo("no_video", "no video stream (cover pictures do not count)")
    return videos


def _in_order_of_choice(streams: Sequence[_AnyStream]) -> list[_AnyStream]:
    # None for a codec that FFmpeg does not know, although the type stub says otherwise.
    decodable = [stream for stream in streams if getattr(stream, "codec_context", None) is not None]
    if not decodable:
        raise RefusedVideo("unreadable", f"no decoder for {streams[0].type} stream {streams[0].index}")
    return sorted(decodable, key=lambda stream: not stream.disposition & Disposition.default)


def _survey(path: Path, indices: Sequence[int]) -> dict[int, SoundSurvey]:
    """Surveys of the first minute of sound streams, by their indices."""
    surveys = {index: SoundSurvey() for index in indices}
    # Where reading fails, the survey ends; whoever reads the file says so.
    with open_media(path) as container, suppress(RefusedVideo):
        streams = [container.streams[index] for index in indices]
        for packet in demux_tolerantly(container, streams, lambda: None):
            stamp = packet.pts if packet.dts is None else packet.dts
            start = float(stream_start(packet.stream)) if isinstance(packet.stream, AudioStream) else 0.0
            if stamp is not None and float(stamp * packet.time_base) - start > SURVEYED_SECONDS:
                break
            for frame in decode_tolerantly(packet, lambda: None):
                if isinstance(frame, AudioFrame):
                    surveys[packet.stream.index].add(frame)
            if all(survey.seconds > SURVEYED_SECONDS for survey in surveys.values()):
                break  # the time stamps are wrong
    return surveys


def _channels(frame: AudioFrame) -> NDArray[Any]:
    """Samples of a decoded frame, [channels, n]."""
    samples = np.asarray(frame.to_ndarray())
    return samples if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels)).T


def _relative_to_full_scale(samples: NDArray[Any], sound_format: str) -> NDArray[np.float64]:
    """Samples of FFmpeg's format `sound_format` relative to full scale; 0 where they are not finite."""
    unsigned = sound_format.startswith("u8")
    scale = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31}.get(sound_format.removesuffix("p"), 1.0)
    with np.errstate(invalid="ignore"):  # signalling NaNs of damaged files
        values = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return values / scale - (1.0 if unsigned else 0.0)


def _describe_choice(
    streams: Sequence[VideoStream | AudioStream],
    chosen: tuple[VideoStream, AudioStream],
    surveys: Mapping[int, SoundSurvey],
) -> str:
    """Which streams are read and which are not, for the catalog; empty if there is no choice."""
    if len(streams) == len(chosen):
        return ""

    def describe(stream: VideoStream | AudioStream) -> str:
        is_silent = stream.index in surveys and surveys[stream.index].loudest_dbfs < SILENT_DBFS
        marks = [
            str(stream.metadata.get("language", "")),
            "default" if stream.disposition & Disposition.default else "",
            "silent" if is_silent else "",
        ]
        return " ".join(filter(None, [stream.type, str(stream.index), *marks]))

    read = ", ".join(describe(stream) for stream in chosen)
    indices = {stream.index for stream in chosen}
    others = ", ".join(describe(stream) for stream in streams if stream.index not in indices)
    return f"reads {read}; not {others}"
