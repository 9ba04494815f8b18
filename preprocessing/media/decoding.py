"""One streaming decode of a source video: pictures on the 25 fps grid, sound at 16 kHz.

`timeline` defines the timeline and which picture is at which grid place, `sound` the sound's places.
Both streams come from one pass over the file; a few decoded pictures are held, whatever the video's
length. libavformat and libavcodec apply edit lists, encoder priming and B-frame order; `stamps` repairs
time stamps, `damage` marks pictures that an error smeared, `colour` maps HDR to SDR. Interlaced video is
not deinterlaced.

This module is for workers: it loads FFmpeg's libraries.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.frame import VideoFrame as SourceFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.media.container import (
    AnyPacket,
    DisplayGeometry,
    RefusedVideo,
    cuda_decoder,
    decode_tolerantly,
    demux_tolerantly,
    display_geometry,
    open_media,
    stream_start,
)
from preprocessing.media.damage import REPORT_ERRORS, DamageMonitor, Judgement
from preprocessing.media.limits import MediaLimits
from preprocessing.media.sound import SoundSink, SoundTrack
from preprocessing.media.source_picture import Converter, Picture, SourcePicture
from preprocessing.media.stamps import DisplayOrder, PartSplicer
from preprocessing.media.streams import choose_streams, choose_video
from preprocessing.media.timeline import PlaceCounter, timeline_zero
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from preprocessing.worker_limits import note_progress
from storage.settings import Settings

SHORTEST_PARTS_PICTURES: Final = 25  # shorter recordings, on the average, are no joined files but garbage


class DecodeSettings(Settings):
    """How a source is decoded."""

    threads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Decoder threads per video; many workers of one thread have the highest throughput",
    )
    hardware: Literal["none", "auto"] = Field(
        default="none", description="Decoder of pictures; auto: the GPU's (NVDEC) if there is one"
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
    picture: Picture  # [H, W, 3] RGB, read-only: repeated places share one
    source_seconds: float  # the source picture's own time stamp, on the timeline
    is_damaged: bool = False  # an error in the file may have smeared it, or took the pictures after it
    begins_part: bool = False  # the file's clock began again here: what precedes is another recording

    @property
    def image(self) -> NDArray[np.uint8]:
        """All of the picture, [H, W, 3] RGB, C-contiguous."""
        return np.asarray(self.picture)


@dataclass
class _Displayed:
    frame: SourceFrame
    is_damaged: bool
    begins_part: bool


class DecodedVideo:
    """Iterate once for the pictures; the sound goes to the sink meanwhile. A context manager.

    Attributes:
        zero_seconds: the timeline's zero on the file's clock, seconds.
        first_frame_index: grid place of the first picture; None until it is yielded.
        damaged_packets: packets so far that could not be decoded, or only with errors.
        sound_samples: samples given to the sink so far. Sound leads or lags the pictures as the file's
            interleaving has it; at the end it is complete and has 640 samples for every picture.
        recorded_sound: [start, end) in samples of the sound so far that comes from the file; elsewhere are
            zeros.
        restamped_pictures: pictures so far whose time stamp was out of order.
        parts: recordings so far that were joined in the file.
    """

    def __init__(
        self,
        path: Path,
        settings: DecodeSettings,
        on_sound: SoundSink | None,
        limits: MediaLimits,
        *,
        may_be_silent: bool = False,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._container = open_media(path, cuda_decoder() if settings.hardware == "auto" else None)
        try:
            self._video, self._audio, channel = self._choose(may_be_silent)
            limits.check_headers(self._container, self._video)
        except RefusedVideo:
            self._container.close()
            raise
        video, audio = self._video, self._audio
        self._zero = timeline_zero(stream_start(video), stream_start(audio or video))
        self._sound = None if on_sound is None else SoundTrack(self._zero, on_sound, limits, channel=channel)
        self._converter = Converter(settings.threads)
        self._geometries: dict[tuple[int, int, int, int], DisplayGeometry] = {}
        self._counter = PlaceCounter()
        self._displayed: _Displayed | None = None
        self._damage = DamageMonitor()
        self._judged: deque[Judgement] = deque()  # of the pictures that the display order holds
        self._splicer = PartSplicer(self._container.format.name, video.index)
        self._order = DisplayOrder(
            decoding_stamps=self._container.format.name == "avi",
            surveys=video.codec_context.has_b_frames,
            start=stream_start(video),
            interval=1 / video.average_rate if video.average_rate else Fraction(1, FRAMES_PER_SECOND),
        )
        self.zero_seconds = float(self._zero)
        self.first_frame_index: int | None = None
        self.damaged_packets = 0
        self.parts = 1
        for stream in filter(None, (video, audio)):
            stream.codec_context.thread_count = settings.threads
            stream.codec_context.thread_type = "AUTO" if settings.threads > 1 else "NONE"
        video.codec_context.options = {**video.codec_context.options, **REPORT_ERRORS}

    def _choose(self, may_be_silent: bool) -> tuple[VideoStream, AudioStream | None, int | None]:
        if may_be_silent and not self._container.streams.audio:
            return choose_video(self._container), None, None
        chosen = choose_streams(self._container)
        return chosen.video, chosen.audio, chosen.channel

    @property
    def sound_samples(self) -> int:
        """Samples given to the sink so far; 0 without a sink."""
        return 0 if self._sound is None else self._sound.delivered_samples

    @property
    def recorded_sound(self) -> list[tuple[int, int]]:
        """As in the class's attributes."""
        return [] if self._sound is None else self._sound.recorded

    @property
    def restamped_pictures(self) -> int:
        """As in the class's attributes."""
        return self._order.restamped_pictures

    def __enter__(self) -> "DecodedVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        streams: list[Stream] = [self._video] if self._audio is None else [self._video, self._audio]
        for packet in demux_tolerantly(self._container, streams, self._note_lost_packets):
            note_progress()
            self._splicer.splice(packet)
            if packet.stream.index == self._video.index:
                yield from self._decode_pictures(packet)
            elif self._sound is not None:
                for frame in decode_tolerantly(packet, self._note_damage):
                    if isinstance(frame, AudioFrame):
                        self._sound.add(frame)
        for frame, seconds in self._order.finish():
            yield from self._place(frame, seconds)
        yield from self._repeat(self._counter.displayed_since, self._counter.finish(self._interval))
        if self.first_frame_index is None:
            raise RefusedVideo("damaged", "no picture could be decoded")
        self._check_stamps()
        if self._sound is not None:
            self._sound.finish((self._counter.next_place or 0) * SAMPLES_PER_FRAME)

    def _check_stamps(self) -> None:
        order = self._order
        if order.is_broken:
            raise RefusedVideo(
                "broken_time_stamps",
                f"{order.unsorted_pictures} of {order.pictures} pictures have time stamps beyond sorting",
            )
        if (self.parts - 1) * SHORTEST_PARTS_PICTURES > order.pictures:
            raise RefusedVideo(
                "broken_time_stamps",
                f"the clock begins again {self.parts - 1} times in {order.pictures} pictures",
            )

    def _note_damage(self) -> None:
        self.damaged_packets += 1

    def _note_lost_packets(self) -> None:
        self.damaged_packets += 1
        self._damage.note_error()

    def _decode_pictures(self, packet: AnyPacket) -> Iterator[VideoFrame]:
        damaged_before = self.damaged_packets
        frames = decode_tolerantly(packet, self._note_damage)
        is_flush = packet.size == 0 and packet.dts is None
        if not is_flush:
            self._damage.note_packet(packet, failed=self.damaged_packets > damaged_before and not frames)
        for frame in frames:
            if isinstance(frame, SourceFrame):
                self._judged.append(self._damage.judge(frame))
                delay = self._video.codec_context.reorder_depth
                for ordered, seconds in self._order.add(frame, delay):
                    yield from self._place(ordered, seconds)

    @property
    def _interval(self) -> Fraction:
        return Fraction(0) if self._displayed is None else self._order.duration_of(self._displayed.frame)

    def _place(self, frame: SourceFrame, seconds: Fraction) -> Iterator[VideoFrame]:
        """Yield the places of the picture on display, then put `frame` on display."""
        start = seconds - self._zero
        self._limits.check_seconds(start)
        if self._displayed is not None:
            gap = float(start - self._counter.displayed_since)
            if gap > self._settings.maximum_gap_seconds:
                limit = self._settings.maximum_gap_seconds
                raise RefusedVideo(
                    "damaged", f"a gap of {gap:.0f} s between two pictures, need at most {limit:.0f} s"
                )
        judged = self._judged.popleft()
        lost_since = self._counter.displayed_since + self._interval if judged.follows_error else None
        yield from self._repeat(self._counter.displayed_since, self._counter.advance(start), lost_since)
        self._displayed = _Displayed(frame, judged.is_damaged, self._begins_part(seconds))

    def _begins_part(self, seconds: Fraction) -> bool:
        starts = self._splicer.video_part_starts
        if self.parts > len(starts) or seconds < starts[self.parts - 1] - 1e-6:
            return False
        self.parts += 1
        return True

    def _repeat(
        self, source_time: Fraction, places: range, lost_since: Fraction | None = None
    ) -> Iterator[VideoFrame]:
        """Yield the picture on display at these places; from `lost_since` on, later pictures are missing."""
        displayed = self._displayed
        if not places or displayed is None:
            return
        if self.first_frame_index is None:
            self.first_frame_index = places.start
        picture = self._picture_of(displayed.frame)
        for place in places:
            note_progress()
            is_lost = lost_since is not None and Fraction(place, FRAMES_PER_SECOND) >= lost_since
            yield VideoFrame(
                place, picture, float(source_time), displayed.is_damaged or is_lost, displayed.begins_part
            )
            displayed.begins_part = False

    def _picture_of(self, frame: SourceFrame) -> SourcePicture:
        # PyAV's side data refers back to its picture, whose memory then waits for the garbage collector:
        # 400 MB of 1080p. So it is read once for every kind of picture.
        kind = (frame.width, frame.height, frame.rotation, self.parts)
        geometry = self._geometries.get(kind)
        if geometry is None:
            geometry = self._geometries[kind] = display_geometry(self._video, frame)
            self._limits.check_size(geometry.width_px, geometry.height_px)
        return SourcePicture(frame, geometry, self._converter)


def open_video(
    path: Path,
    settings: DecodeSettings,
    on_sound: SoundSink | None = None,
    limits: MediaLimits | None = None,
    *,
    may_be_silent: bool = False,
) -> DecodedVideo:
    """Open a source to decode it once; use it in a `with` statement and iterate once.

    Args:
        path: a local file.
        settings: threads and the longest gap.
        on_sound: called with consecutive float32 blocks [n] of mono 16 kHz sound within [-1, 1];
            the first sample of the first block is at time 0. None: sound is not decoded.
        limits: of duration and pictures; the defaults if None.
        may_be_silent: a file without a sound stream is read as well; the timeline begins with its pictures.

    Returns:
        An iterable of `VideoFrame`s with consecutive indices from `first_frame_index`.

    Raises:
        RefusedVideo: as `open_media`, `choose_streams` and `MediaLimits.check_headers`; `damaged`,
            `broken_time_stamps`, `too_long` or `too_large` while iterating.
    """
    return DecodedVideo(path, settings, on_sound, limits or MediaLimits(), may_be_silent=may_be_silent)


def decode_sound(path: Path, settings: DecodeSettings) -> NDArray[np.float32]:
    """All sound of a source on the timeline of `open_video`; pictures are not decoded.

    Returns:
        [n] float32 mono 16 kHz within [-1, 1], not padded to the pictures' end. Two hours take 460 MB.

    Raises:
        RefusedVideo: as `open_video`.
    """
    blocks: list[NDArray[np.float32]] = []
    limits = MediaLimits()
    with open_media(path) as container:
        streams = choose_streams(container)
        limits.check_headers(container, streams.video)
        streams.audio.codec_context.thread_count = settings.threads
        zero = timeline_zero(stream_start(streams.video), stream_start(streams.audio))
        sound = SoundTrack(zero, blocks.append, limits, channel=streams.channel)
        splicer = PartSplicer(container.format.name, streams.video.index)
        # With the video's packets, so that joined parts are put at the same place as there.
        for packet in demux_tolerantly(container, [streams.video, streams.audio], _ignore_damage):
            splicer.splice(packet)
            if packet.stream.index != streams.audio.index:
                continue
            for frame in decode_tolerantly(packet, _ignore_damage):
                if isinstance(frame, AudioFrame):
                    sound.add(frame)
        sound.finish()
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _ignore_damage() -> None:
    pass
