"""Probe a video file without decoding all of it: the catalog's facts, or a reason to refuse it.

Every packet of the file is demuxed once; only the first picture is decoded. This reads the whole
file, as the catalog's hash does anyway, and costs about 7 microseconds per packet (4 s for two hours
of video). It gives the frame count, the true end of both streams and whether the frame rate varies,
and detects a file that ends earlier than its header says. It cannot detect a truncated MPEG program or
transport stream, whose length is not stored in the file.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import av.error
import numpy as np
from av.container import InputContainer
from pydantic import Field

from preprocessing.media.colour import Colour
from preprocessing.media.container import (
    AnyPacket,
    DisplayGeometry,
    RefusedVideo,
    demux_known,
    display_geometry,
    find_truncation,
    open_media,
    stream_start,
)
from preprocessing.media.limits import MediaLimits
from preprocessing.media.streams import ChosenStreams, choose_streams
from preprocessing.worker_limits import WorkerLimits, note_progress
from storage.settings import Settings

PROBE_VERSION: Final = 4  # raise it when the probe judges differently: known files are probed again


class ProbeSettings(Settings):
    """When a readable file is refused."""

    minimum_seconds: float = Field(
        default=1.0, ge=0.04, description="Minimum duration of both the video and the audio stream"
    )
    maximum_side_px: int = Field(
        default=8192,
        ge=64,
        le=32768,
        description="Maximum width or height of a video; one RGB frame of 8192 x 8192 px takes 200 MB",
    )
    truncation_tolerance_seconds: float = Field(
        default=0.5,
        ge=0.0,
        description="How much earlier a stream may end than its header says",
    )
    media: MediaLimits = MediaLimits()
    worker: WorkerLimits = WorkerLimits()


@dataclass(frozen=True)
class SourceFacts:
    """Facts of an accepted video. Times are in seconds on the file's clock."""

    duration_seconds: float  # from the earlier start to the later end of both streams
    width_px: int  # as displayed, with rotation and pixel aspect applied
    height_px: int
    rotation_degrees: int  # counter-clockwise rotation that a player applies: 0, 90, 180, 270
    frame_count: int  # displayed source frames
    average_fps: float
    variable_rate: bool  # frame intervals differ by more than 10 % and 2 ms
    video_codec: str
    audio_codec: str
    sample_rate_hz: int
    channels: int
    video_start_seconds: float
    audio_start_seconds: float
    reading: str = ""  # what is special about how it is read: streams or a channel of several, colours mapped


def probe(path: Path, settings: ProbeSettings) -> SourceFacts:
    """Facts of the video at `path`.

    Raises:
        RefusedVideo: the file is refused.
        OSError: the file cannot be read at all (missing, no permission).
    """
    with open_media(path) as container:
        streams = choose_streams(container)
        _check_container(path)
        settings.media.check_headers(container, streams.video)
        header_ends = _header_ends(container, streams)
        demuxed = _demux(container, streams, settings.media)
        _check_ends(header_ends, demuxed, streams, settings)
        return _facts(streams, demuxed, settings)


@dataclass
class _Demuxed:
    """Result of a pass over all packets, in seconds on the file's clock."""

    geometry: DisplayGeometry | None = None
    video_times: list[float] = field(default_factory=list[float])
    ends: dict[int, float] = field(default_factory=dict)  # stream index -> end of its last packet


def _demux(container: InputContainer, streams: ChosenStreams, limits: MediaLimits) -> _Demuxed:
    demuxed, size_bytes = _Demuxed(), container.size
    try:
        for packet in demux_known(container):
            note_progress()
            _note_packet(packet, streams, demuxed)
            limits.check_frames(len(demuxed.video_times), size_bytes)
    except av.error.FFmpegError as error:
        seconds = max(demuxed.ends.values(), default=0.0)
        raise RefusedVideo("truncated", f"reading fails at {seconds:.2f} s: {error.strerror}") from error
    return demuxed


def _note_packet(packet: AnyPacket, streams: ChosenStreams, demuxed: _Demuxed) -> None:
    time_base = packet.time_base
    is_video = packet.stream.index == streams.video.index
    if is_video and demuxed.geometry is None:
        demuxed.geometry = _first_geometry(packet, streams)
    stamp = packet.dts if packet.pts is None else packet.pts
    if stamp is None or packet.is_discard:  # discarded: before an edit, decoded for reference only
        return
    index = packet.stream_index
    end = float((stamp + (packet.duration or 0)) * time_base)
    demuxed.ends[index] = max(end, demuxed.ends.get(index, end))
    if is_video:
        demuxed.video_times.append(float(stamp * time_base))


def _first_geometry(packet: AnyPacket, streams: ChosenStreams) -> DisplayGeometry | None:
    try:
        frames = streams.video.decode(packet)
    except av.error.FFmpegError:
        return None  # the next packet may be decodable
    return display_geometry(streams.video, frames[0]) if frames else None


def _check_container(path: Path) -> None:
    truncation = find_truncation(path)
    if truncation is not None:
        raise RefusedVideo("truncated", truncation)


def _header_ends(container: InputContainer, streams: ChosenStreams) -> dict[str, float]:
    """End of the file and of each chosen stream, in seconds, where the headers have it."""
    ends: dict[str, float] = {}
    if container.duration is not None:
        # FFmpeg knows no start where the file is cut before its first packets.
        ends["file"] = ((container.start_time or 0) + container.duration) / av.time_base
    for name, stream in (("video", streams.video), ("sound", streams.audio)):
        if stream.duration is not None and stream.time_base is not None:
            ends[name] = float(stream_start(stream) + stream.duration * stream.time_base)
    return ends


def _check_ends(
    header_ends: dict[str, float], demuxed: _Demuxed, streams: ChosenStreams, settings: ProbeSettings
) -> None:
    """Raise RefusedVideo `truncated` where the packets end clearly before the header's end."""
    packet_ends: dict[str, float] = {}
    for name, index in (("video", streams.video.index), ("sound", streams.audio.index)):
        if index not in demuxed.ends:
            raise RefusedVideo("truncated", f"the {name} stream has no packets")
        packet_ends[name] = demuxed.ends[index]
    packet_ends["file"] = max(demuxed.ends.values())
    for name, header_end in header_ends.items():
        if packet_ends[name] < header_end - settings.truncation_tolerance_seconds:
            raise RefusedVideo(
                "truncated",
                f"{name}: header says {header_end:.2f} s, packets end at {packet_ends[name]:.2f} s",
            )


def _facts(streams: ChosenStreams, demuxed: _Demuxed, settings: ProbeSettings) -> SourceFacts:
    geometry = demuxed.geometry
    if geometry is None:
        raise RefusedVideo("damaged", "no picture could be decoded")
    if max(geometry.width_px, geometry.height_px) > settings.maximum_side_px:
        raise RefusedVideo(
            "too_large",
            f"{geometry.width_px} x {geometry.height_px} px, need at most {settings.maximum_side_px}",
        )
    video_start, audio_start = float(stream_start(streams.video)), float(stream_start(streams.audio))
    video_end, audio_end = demuxed.ends[streams.video.index], demuxed.ends[streams.audio.index]
    common = min(video_end, audio_end) - max(video_start, audio_start)
    if common < settings.minimum_seconds:
        raise RefusedVideo(
            "too_short", f"picture and sound overlap by {common:.2f} s, need {settings.minimum_seconds:.2f} s"
        )
    duration = max(video_end, audio_end) - min(video_start, audio_start)
    settings.media.check_seconds(duration)
    intervals = np.diff(np.sort(np.asarray(demuxed.video_times)))
    middle = float(np.median(intervals)) if len(intervals) else 0.0
    return SourceFacts(
        duration_seconds=duration,
        width_px=geometry.displayed_width_px,
        height_px=geometry.displayed_height_px,
        rotation_degrees=90 * geometry.quarter_turns,
        frame_count=len(demuxed.video_times),
        average_fps=len(demuxed.video_times) / (video_end - video_start),
        variable_rate=bool(np.any(np.abs(intervals - middle) > max(0.002, 0.1 * middle))),
        video_codec=streams.video.codec_context.name,
        audio_codec=streams.audio.codec_context.name,
        sample_rate_hz=streams.audio.codec_context.sample_rate,
        channels=streams.audio.codec_context.channels,
        video_start_seconds=video_start,
        audio_start_seconds=audio_start,
        reading="; ".join(filter(None, [streams.note, _colour(streams).description])),
    )


def _colour(streams: ChosenStreams) -> Colour:
    codec = streams.video.codec_context
    return Colour(int(codec.color_trc), int(codec.color_primaries))
