"""Opening a file that claims to be a video, without trusting what stands in it.

A playlist, a concat script or any other text that names further files must never make FFmpeg read
those files or the network. Two of FFmpeg's own locks hold that: only the demuxers of
`DEMUXERS` may be chosen (FFmpeg guesses by content, not by name), and only the protocol `file`
may be used. Reference movies of the mov demuxer (`dref`) are ignored by FFmpeg's default.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

if TYPE_CHECKING:
    AnyPacket = Packet[Stream]
else:
    AnyPacket = Packet  # at run time PyAV's class takes no parameter

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v"})
# As FFmpeg spells them: one demuxer is "mov,mp4,m4a,3gp,3g2,mj2", one "matroska,webm"; "mpeg" is
# the MPEG program stream, "mpegvideo" the elementary one (which ends as `no_sound`).
DEMUXERS: Final = ("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo")
# Kinds of top-level boxes that an mp4 or mov file may begin with.
FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"})
MEDIA_BOXES: Final = frozenset({b"moov", b"mdat", b"moof"})
# A demuxer that fails this often in a row will not find its way back into the file.
READ_ERRORS_IN_A_ROW: Final = 100


class RefusedVideo(Exception):  # noqa: N818 (a verdict that becomes a row, not a fault)
    """A file that the pipeline does not take, as data: a row of the catalog, not a crash.

    Attributes:
        reason: short stable code, fit for counting: `zero_bytes`, `not_a_video`, `unreadable`,
            `truncated`, `no_video`, `no_sound`, `too_short`, `too_large`, `damaged`; of objects in a
            bucket also `still_changing`, `source_missing`, `source_changed`.
        detail: one sentence for a person, with the figures.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RefusedVideo"], tuple[str, str]]:  # pyright: ignore[reportImplicitOverride]
        # An exception comes back from a worker process through pickle, which calls the class with
        # `args`; those hold the joined message only.
        return RefusedVideo, (self.reason, self.detail)


@dataclass(frozen=True)
class ChosenStreams:
    """The two streams that are read: the first true video stream and the first sound stream."""

    video: VideoStream
    audio: AudioStream


@dataclass(frozen=True)
class DisplayGeometry:
    """How a decoded picture is shown: first scaled to `width_px` x `height_px`, then turned."""

    width_px: int
    height_px: int
    quarter_turns: int  # counter-clockwise, 0 to 3

    @property
    def displayed_width_px(self) -> int:
        """Width after the turn."""
        return self.height_px if self.quarter_turns % 2 else self.width_px

    @property
    def displayed_height_px(self) -> int:
        """Height after the turn."""
        return self.width_px if self.quarter_turns % 2 else self.height_px


def display_geometry(stream: VideoStream, frame: VideoFrame) -> DisplayGeometry:
    """How a player shows `frame`: pixels made square, turned as the file's metadata says.

    A turn that is no multiple of 90 degrees is rounded to one; mirrored matrices are not applied.
    """
    aspect = stream.sample_aspect_ratio
    # Out of this range it is a muxer's mistake, not a lens; players ignore it as well.
    is_sane = aspect is not None and Fraction(1, 4) <= aspect <= 4
    width_px = round(frame.width * aspect) if aspect is not None and is_sane else frame.width
    return DisplayGeometry(width_px, frame.height, round(frame.rotation / 90) % 4)


def open_media(path: Path) -> InputContainer:
    """Open a local media file for reading, with FFmpeg's locks on.

    Raises:
        RefusedVideo: `zero_bytes`, `not_a_video`, `truncated` or `unreadable`.
    """
    if path.stat().st_size == 0:
        raise RefusedVideo("zero_bytes", "the file is empty")
    locks = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS)}
    try:
        # An absolute path, so that no name is taken for a protocol ("concat:a|b", "http:...").
        return av.open(str(path.absolute()), "r", container_options=locks, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise _refusal_of_opening(path, error) from error


def choose_streams(container: InputContainer) -> ChosenStreams:
    """The first video stream that is not a cover picture, and the first sound stream.

    Raises:
        RefusedVideo: `no_video`, `no_sound`, or `unreadable` where FFmpeg knows no decoder.
    """
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not videos:
        raise RefusedVideo("no_video", "no video stream (cover pictures do not count)")
    if not container.streams.audio:
        raise RefusedVideo("no_sound", "no sound stream")
    video, audio = videos[0], container.streams.audio[0]
    for stream in (video, audio):
        # The stub says there always is one; FFmpeg has none for a codec it does not know.
        if getattr(stream, "codec_context", None) is None:
            raise RefusedVideo("unreadable", f"no decoder for {stream.type} stream {stream.index}")
    return ChosenStreams(video, audio)


def stream_start(stream: VideoStream | AudioStream) -> Fraction:
    """Start of a stream in seconds on the file's own clock, edit lists and priming counted; 0 if untold."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base


def demux_tolerantly(
    container: InputContainer, streams: Sequence[Stream], on_damage: Callable[[], None]
) -> Iterator[AnyPacket]:
    """Packets of `streams` in file order, then one empty packet per stream that flushes its decoder.

    Raises:
        RefusedVideo: `damaged` if the file cannot be read on.
    """
    errors_in_a_row = 0
    while True:
        try:
            for packet in container.demux(*streams):
                errors_in_a_row = 0
                yield packet
        except av.error.FFmpegError as error:
            on_damage()
            errors_in_a_row += 1
            if errors_in_a_row >= READ_ERRORS_IN_A_ROW:
                raise RefusedVideo("damaged", f"cannot be read on: {error.strerror}") from error
        else:
            return


def decode_tolerantly(packet: AnyPacket, on_damage: Callable[[], None]) -> list[VideoFrame | AudioFrame]:
    """Frames that `packet` completes; `on_damage` is called if it fails or a frame is flawed."""
    try:
        frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame | AudioFrame)]
    except av.error.FFmpegError:
        on_damage()
        return []
    if any(frame.is_corrupt for frame in frames):
        on_damage()
    return frames


def early_end(path: Path) -> str | None:
    """What tells, by the sizes in its container's own frame, that a file was cut off; None if nothing does.

    Known for mp4 and mov (top-level boxes) and AVI (the RIFF chunk). Reads a few bytes only.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if looks_like_mp4(head):
        return overrunning_box(path)
    if looks_like_avi(head):
        missing = 8 + int.from_bytes(head[4:8], "little") - path.stat().st_size
        # A chunk of odd size is followed by one byte that some writers count and leave out.
        return f"the RIFF chunk ends {missing} bytes after the file" if missing > 1 else None
    return None


def overrunning_box(path: Path) -> str | None:
    """What ends an mp4 or mov file too early, or None: told by the sizes of its top-level boxes.

    Costs one seek and 16 bytes read per top-level box (usually four of them).
    """
    size = path.stat().st_size
    seen: set[bytes] = set()
    with path.open("rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length, kind = struct.unpack(">I4s", head[:8])
            if length == 1 and len(head) == 16:
                length = struct.unpack(">Q", head[8:])[0]
            seen.add(kind)
            if length == 0:  # this box reaches to the end of the file
                break
            if length < 8:
                return None  # not a box: leave it to FFmpeg
            if position + length > size:
                name = kind.decode("latin-1")
                missing = position + length - size
                return f"box {name!r} ends {missing} bytes after the file" if kind in MEDIA_BOXES else None
            position += length
    return None if b"moov" in seen else "no 'moov' box: the file's index is missing"


def looks_like_mp4(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an mp4 or mov file."""
    return head[4:8] in FIRST_BOXES


def looks_like_avi(head: bytes) -> bool:
    """Whether the first twelve bytes of a file are those of an AVI file."""
    return head.startswith(b"RIFF") and head[8:12] == b"AVI "


def _refusal_of_opening(path: Path, error: av.error.FFmpegError) -> RefusedVideo:
    cut = early_end(path)
    if cut is not None:
        return RefusedVideo("truncated", cut)
    with path.open("rb") as file:
        head = file.read(16)
    if looks_like_mp4(head):
        return RefusedVideo("unreadable", f"looks like mp4/mov, but: {error.strerror}")
    if _looks_like_other_video(head):
        return RefusedVideo("unreadable", f"looks like a video, but: {error.strerror}")
    return RefusedVideo("not_a_video", "its content is none of " + ", ".join(DEMUXERS))


def _looks_like_other_video(head: bytes) -> bool:
    is_matroska = head.startswith(b"\x1a\x45\xdf\xa3")
    is_mpeg = head.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"))
    return is_matroska or looks_like_avi(head) or is_mpeg
