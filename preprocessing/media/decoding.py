"""One streaming decode of a source video: pictures on the 25 fps grid, sound at 16 kHz.

`timeline` defines the timeline and which picture is at which grid place, `sound` the sound's places.
Both streams come from one pass over the file; at most two decoded pictures are held, whatever
the video's length. libavformat and libavcodec apply edit lists, encoder priming and B-frame order.
Colour matrix and range follow the file's tags (swscale). Interlaced video is not deinterlaced.

This module is for workers: it loads FFmpeg's libraries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Stream
from av.video.frame import VideoFrame as SourceFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.media.container import (
    RefusedVideo,
    choose_streams,
    decode_tolerantly,
    demux_tolerantly,
    display_geometry,
    open_media,
    stream_start,
)
from preprocessing.media.sound import SoundSink, SoundTrack
from preprocessing.media.timeline import PlaceCounter, timeline_zero
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from storage.settings import Settings


class DecodeSettings(Settings):
    """How a source is decoded."""

    threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Decoder threads per video; many workers of one thread have the highest throughput",
    )
    maximum_gap_seconds: float = Field(
        default=600.0,
        ge=0.04,
        description="Maximum time for which a frame is repeated; longer gaps count as broken timestamps",
    )


@dataclass(frozen=True)
class VideoFrame:
    """The picture at one place of the 25 fps grid."""

    index: int  # place on the grid: time `index` / 25 s, sound sample `index` * 640
    image: NDArray[np.uint8]  # [H, W, 3] RGB, C-contiguous, read-only: repeated places share one array
    source_seconds: float  # the source picture's own time stamp, on the timeline


class DecodedVideo:
    """Iterate once for the pictures; the sound goes to the sink meanwhile. A context manager.

    Attributes:
        zero_seconds: the timeline's zero on the file's clock, seconds.
        first_frame_index: grid place of the first picture; None until it is yielded.
        damaged_packets: packets so far that could not be decoded, or only with errors.
        sound_samples: samples given to the sink so far. Sound leads or lags the pictures as the file's
            interleaving has it; at the end it is complete and has 640 samples for every picture.
    """

    def __init__(self, path: Path, settings: DecodeSettings, on_sound: SoundSink | None) -> None:
        self._path = path
        self._settings = settings
        self._container = open_media(path)
        try:
            self._streams = choose_streams(self._container)
        except RefusedVideo:
            self._container.close()
            raise
        self._zero = timeline_zero(stream_start(self._streams.video), stream_start(self._streams.audio))
        self._sound = None if on_sound is None else SoundTrack(self._zero, on_sound)
        self._reformatter = VideoReformatter()
        self._counter = PlaceCounter()
        self._displayed: SourceFrame | None = None
        self._interval = Fraction(1, FRAMES_PER_SECOND)
        self._reorder_delay = Fraction(0)
        self.zero_seconds = float(self._zero)
        self.first_frame_index: int | None = None
        self.damaged_packets = 0
        for stream in (self._streams.video, self._streams.audio):
            stream.codec_context.thread_count = settings.threads
            stream.codec_context.thread_type = "AUTO" if settings.threads > 1 else "NONE"

    @property
    def sound_samples(self) -> int:
        """Samples given to the sink so far; 0 without a sink."""
        return 0 if self._sound is None else self._sound.delivered_samples

    def __enter__(self) -> "DecodedVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        streams: list[Stream] = [self._streams.video]
        if self._sound is not None:
            streams.append(self._streams.audio)
        for packet in demux_tolerantly(self._container, streams, self._note_damage):
            for frame in decode_tolerantly(packet, self._note_damage):
                if isinstance(frame, SourceFrame):
                    yield from self._place(frame)
                elif self._sound is not None:
                    self._sound.add(frame)
        yield from self._repeat(self._counter.displayed_since, self._counter.finish(self._interval))
        if self.first_frame_index is None:
            raise RefusedVideo("damaged", "no picture could be decoded")
        if self._sound is not None:
            self._sound.finish((self._counter.next_place or 0) * SAMPLES_PER_FRAME)

    def _note_damage(self) -> None:
        self.damaged_packets += 1

    def _place(self, frame: SourceFrame) -> Iterator[VideoFrame]:
        """Yield the places of the picture on display, then put `frame` on display."""
        if self._displayed is None:
            self._reorder_delay = self._avi_reorder_delay(frame)
        start = self._start_of(frame)
        if self._displayed is not None:
            if start <= self._counter.displayed_since:  # a time stamp that runs backwards
                self._note_damage()
                return
            gap = float(start - self._counter.displayed_since)
            if gap > self._settings.maximum_gap_seconds:
                limit = self._settings.maximum_gap_seconds
                raise RefusedVideo(
                    "damaged", f"a gap of {gap:.0f} s between two pictures, need at most {limit:.0f} s"
                )
        yield from self._repeat(self._counter.displayed_since, self._counter.advance(start))
        self._displayed = frame
        self._interval = self._duration_of(frame)

    def _start_of(self, frame: SourceFrame) -> Fraction:
        if frame.pts is None or frame.time_base is None:
            return self._counter.displayed_since + self._interval
        return frame.pts * frame.time_base - self._zero - self._reorder_delay

    def _avi_reorder_delay(self, first: SourceFrame) -> Fraction:
        """Seconds by which the time stamps of an AVI with B-frames are late.

        AVI numbers pictures in decoding order and has no presentation times; libavformat takes
        the numbers for decoding times, so the first picture is late by the decoder's reordering
        delay. By AVI's rules the first displayed picture is at the stream's start.
        """
        video = self._streams.video
        if self._container.format.name != "avi" or not video.codec_context.has_b_frames:
            return Fraction(0)
        late = self._start_of(first) - (stream_start(video) - self._zero)
        # More than two pictures is not reordering: the first ones could not be decoded.
        return late if 0 < late <= 2 * self._duration_of(first) else Fraction(0)

    def _duration_of(self, frame: SourceFrame) -> Fraction:
        if frame.duration and frame.time_base is not None:
            return frame.duration * frame.time_base
        rate = self._streams.video.average_rate
        return 1 / rate if rate else Fraction(1, FRAMES_PER_SECOND)

    def _repeat(self, source_time: Fraction, places: range) -> Iterator[VideoFrame]:
        if not places or self._displayed is None:
            return
        if self.first_frame_index is None:
            self.first_frame_index = places.start
        image = self._convert(self._displayed)
        for place in places:
            yield VideoFrame(place, image, float(source_time))

    def _convert(self, frame: SourceFrame) -> NDArray[np.uint8]:
        """RGB of a source picture as a player displays it: square pixels, rotated, read-only."""
        geometry = display_geometry(self._streams.video, frame)
        converted = self._reformatter.reformat(
            frame,
            width=geometry.width_px,
            height=geometry.height_px,
            format="rgb24",
            threads=self._settings.threads,
        )
        image = np.asarray(converted.to_ndarray(), np.uint8)
        if geometry.quarter_turns:
            image = np.rot90(image, geometry.quarter_turns)
        image = np.ascontiguousarray(image)
        image.flags.writeable = False
        return image


def open_video(path: Path, settings: DecodeSettings, on_sound: SoundSink | None = None) -> DecodedVideo:
    """Open a source to decode it once; use it in a `with` statement and iterate once.

    Args:
        path: a local file.
        settings: threads and the longest gap.
        on_sound: called with consecutive float32 blocks [n] of mono 16 kHz sound within [-1, 1];
            the first sample of the first block is at time 0. None: sound is not decoded.

    Returns:
        An iterable of `VideoFrame`s with consecutive indices from `first_frame_index`.

    Raises:
        RefusedVideo: as `open_media` and `choose_streams`; `damaged` while iterating.
    """
    return DecodedVideo(path, settings, on_sound)


def decode_sound(path: Path, settings: DecodeSettings) -> NDArray[np.float32]:
    """All sound of a source on the timeline of `open_video`; pictures are not decoded.

    Returns:
        [n] float32 mono 16 kHz within [-1, 1], not padded to the pictures' end. Two hours take 460 MB.

    Raises:
        RefusedVideo: as `open_video`.
    """
    blocks: list[NDArray[np.float32]] = []
    with open_media(path) as container:
        streams = choose_streams(container)
        streams.audio.codec_context.thread_count = settings.threads
        sound = SoundTrack(
            timeline_zero(stream_start(streams.video), stream_start(streams.audio)), blocks.append
        )
        for packet in demux_tolerantly(container, [streams.audio], _ignore_damage):
            for frame in decode_tolerantly(packet, _ignore_damage):
                if isinstance(frame, AudioFrame):
                    sound.add(frame)
        sound.finish()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _ignore_damage() -> None:
    pass
