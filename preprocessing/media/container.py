"""Open, demux and decode untrusted video files.

A playlist, a concat script or any other text that names further files must never make FFmpeg read
those files or the network. Two of FFmpeg's options prevent that: a whitelist of demuxers
(`DEMUXERS`; FFmpeg guesses by content, not by name) and a whitelist of protocols (`file` alone).
Reference movies of the mov demuxer (`dref`) are ignored by FFmpeg's default.
"""

import logging
import math
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from storage.printable import printable

if TYPE_CHECKING:
    AnyPacket = Packet[Stream]
else:
    AnyPacket = Packet  # at run time PyAV's class takes no parameter

logger = logging.getLogger(__name__)

# Endings of files that are looked at, by FFmpeg's name of the demuxer that usually reads them. One demuxer is
# "mov,mp4,m4a,3gp,3g2,mj2", one "matroska,webm"; "mpeg" is the MPEG program stream, "mpegvideo" the
# elementary stream (refused as `no_sound`), "asf" Windows Media.
SUFFIXES_BY_DEMUXER: Final[Mapping[str, tuple[str, ...]]] = {
    "mov": (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".ismv", ".mj2"),
    "matroska": (".mkv", ".webm", ".mk3d"),
    "avi": (".avi", ".divx"),
    "mpeg": (".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".mod"),
    "mpegts": (".ts", ".mts", ".m2ts", ".m2t", ".tod", ".tp", ".trp"),
    "mpegvideo": (".m1v", ".m2v", ".mpv"),
    "flv": (".flv", ".f4v"),
    "ogg": (".ogv", ".ogm", ".ogx"),
    "asf": (".wmv", ".asf"),
    "mxf": (".mxf",),
    "dv": (".dv",),
    "nut": (".nut",),
}
DEMUXERS: Final = tuple(SUFFIXES_BY_DEMUXER)
VIDEO_SUFFIXES: Final = frozenset(suffix for suffixes in SUFFIXES_BY_DEMUXER.values() for suffix in suffixes)
# Types of top-level boxes that an mp4 or mov file may start with.
FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"})
MEDIA_BOXES: Final = frozenset({b"moov", b"mdat", b"moof"})
# A demuxer that fails this often in a row will not find its way back into the file.
READ_ERRORS_IN_A_ROW: Final = 100


class RefusedVideo(Exception):  # noqa: N818 (a result that becomes a row, not a fault)
    """A file that the pipeline does not accept; it becomes a row of the catalog.

    Attributes:
        reason: short stable code to count by: `zero_bytes`, `not_a_video`, `unreadable`,
            `truncated`, `no_video`, `no_sound`, `too_short`, `too_long`, `too_large`, `damaged`; of files
            that are not what the catalog says `still_changing`, `source_missing`, `source_changed`,
            `not_a_file`, `not_accessible`.
        detail: one sentence for people, with the values; control characters of names are escaped.
    """

    def __init__(self, reason: str, detail: str) -> None:
        detail = printable(detail)
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RefusedVideo"], tuple[str, str]]:  # pyright: ignore[reportImplicitOverride]
        # Pickle, which brings exceptions back from worker processes, calls the class with `args`,
        # which hold the joined message only.
        return RefusedVideo, (self.reason, self.detail)


def failure(error: Exception) -> str:
    """An exception in one line, for a row or a message: its type and its message."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


@dataclass(frozen=True)
class DisplayGeometry:
    """How a decoded picture is displayed: scaled to `width_px` x `height_px`, then mirrored, then rotated."""

    width_px: int
    height_px: int
    quarter_turns: int  # counter-clockwise, 0 to 3
    is_mirrored: bool = False  # left and right change places, before the rotation

    @property
    def displayed_width_px(self) -> int:
        """Width after the rotation."""
        return self.height_px if self.quarter_turns % 2 else self.width_px

    @property
    def displayed_height_px(self) -> int:
        """Height after the rotation."""
        return self.width_px if self.quarter_turns % 2 else self.height_px


def display_geometry(stream: VideoStream, frame: VideoFrame) -> DisplayGeometry:
    """How a player displays `frame`: square pixels, mirrored and rotated as the file's metadata says.

    The rotation is rounded to a multiple of 90 degrees.
    """
    aspect = stream.sample_aspect_ratio
    # Out of this range it is a muxer's mistake; players ignore it as well.
    is_sane = aspect is not None and Fraction(1, 4) <= aspect <= 4
    width_px = round(frame.width * aspect) if aspect is not None and is_sane else frame.width
    is_mirrored, degrees = _display_matrix(frame)
    return DisplayGeometry(width_px, frame.height, round(degrees / 90) % 4, is_mirrored)


def _display_matrix(frame: VideoFrame) -> tuple[bool, float]:
    """Whether a picture is mirrored (x to -x), and the degrees that it is then turned counter-clockwise."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, float(frame.rotation)
    # FFmpeg's layout: x' = a x + c y, y' = b x + d y with y down; rows of three, 16.16 fixed point.
    a, b, _, c, d = (value / 65536 for value in struct.unpack("=5i", bytes(matrix)[:20]))
    if a * d - b * c >= 0:
        return False, float(frame.rotation)
    # M = R diag(-1, 1): R's first column is (-a, -b).
    return True, math.degrees(math.atan2(b, -a))


@cache
def cuda_decoder() -> HWAccel | None:
    """NVDEC, through FFmpeg; None where this machine has no NVIDIA GPU.

    Streams that it cannot decode are decoded on the CPU. Pictures are copied to the host's memory.
    """
    accelerator = HWAccel("cuda", allow_software_fallback=True)
    try:
        accelerator.create(Codec("h264", "r"))
    except av.error.FFmpegError as error:
        logger.info("Decoding on the CPU: no NVDEC (%s)", error.strerror)
        return None
    return HWAccel("cuda", allow_software_fallback=True)


def open_media(path: Path, accelerator: HWAccel | None = None) -> InputContainer:
    """Open a local media file for reading, with both whitelists applied.

    Args:
        path: the file.
        accelerator: of `cuda_decoder`; None decodes on the CPU.

    Raises:
        RefusedVideo: `not_a_file`, `zero_bytes`, `not_a_video`, `truncated` or `unreadable`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device may wait forever
        raise RefusedVideo("not_a_file", f"{path} is a folder, a pipe, a socket or a device")
    if status.st_size == 0:
        raise RefusedVideo("zero_bytes", "the file is empty")
    whitelists = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS)}
    try:
        # Absolute, so that no name is taken for a protocol ("concat:a|b", "http:...").
        return av.open(
            str(path.absolute()),
            "r",
            container_options=whitelists,
            metadata_errors="replace",
            hwaccel=accelerator,
        )
    except av.error.FFmpegError as error:
        raise _refusal_of_opening(path, error) from error


def stream_start(stream: VideoStream | AudioStream) -> Fraction:
    """Start of a stream in seconds on the file's clock, edit lists and priming included; 0 if unknown."""
    if stream.start_time is None or stream.time_base is None:
        return Fraction(0)
    return stream.start_time * stream.time_base


def demux_known(container: InputContainer, *streams: Stream) -> Iterator[AnyPacket]:
    """Packets of `streams` (all, where none is named) in file order, then an empty one per stream.

    Packets of a stream that begins in the middle of the file are left out: that is how damage in a transport
    stream's tables looks, and PyAV, which lists streams when it opens a file, raises IndexError.
    """
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:
            continue  # reading goes on behind the packet
        return


def demux_tolerantly(
    container: InputContainer, streams: Sequence[Stream], on_damage: Callable[[], None]
) -> Iterator[AnyPacket]:
    """Packets of `streams` in file order, then one empty packet per stream that flushes its decoder.

    Read errors call `on_damage` and reading continues behind them. Streams as in `demux_known`.

    Raises:
        RefusedVideo: `damaged` after `READ_ERRORS_IN_A_ROW` errors without a packet.
    """
    errors_in_a_row = 0
    while True:
        try:
            for packet in demux_known(container, *streams):
                errors_in_a_row = 0
                yield packet
        except av.error.FFmpegError as error:
            on_damage()
            errors_in_a_row += 1
            if errors_in_a_row >= READ_ERRORS_IN_A_ROW:
                raise RefusedVideo(
                    "damaged", f"reading failed {errors_in_a_row} times in a row: {error.strerror}"
                ) from error
        else:
            return


def decode_tolerantly(packet: AnyPacket, on_damage: Callable[[], None]) -> list[VideoFrame | AudioFrame]:
    """Frames that `packet` completes; calls `on_damage` if decoding fails or a frame is corrupt."""
    try:
        frames = [frame for frame in packet.decode() if isinstance(frame, VideoFrame | AudioFrame)]
    except av.error.FFmpegError:
        on_damage()
        return []
    if any(frame.is_corrupt for frame in frames):
        on_damage()
    return frames


def find_truncation(path: Path) -> str | None:
    """How the sizes in its container's headers show that a file is truncated; None if they do not.

    Covers mp4 and mov (top-level boxes) and AVI (the RIFF chunk). Reads a few bytes only.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if looks_like_mp4(head):
        return find_truncated_box(path)
    if looks_like_avi(head):
        missing = 8 + int.from_bytes(head[4:8], "little") - path.stat().st_size
        # A chunk of odd size is followed by a padding byte, which some writers count but leave out.
        return f"the RIFF chunk ends {missing} bytes after the file" if missing > 1 else None
    return None


def find_truncated_box(path: Path) -> str | None:
    """How the sizes of its top-level boxes show that an mp4 or mov file is truncated; None if they do not.

    Costs one seek and 16 bytes per top-level box, usually four of them.
    """
    size = path.stat().st_size
    kinds: set[bytes] = set()
    with path.open("rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            head = file.read(16)
            length, kind = struct.unpack(">I4s", head[:8])
            if length == 1 and len(head) == 16:
                length = struct.unpack(">Q", head[8:])[0]
            kinds.add(kind)
            if length == 0:  # the box extends to the end of the file
                break
            if length < 8:
                return None  # not a box: leave it to FFmpeg
            if position + length > size:
                name = kind.decode("latin-1")
                missing = position + length - size
                return f"box {name!r} ends {missing} bytes after the file" if kind in MEDIA_BOXES else None
            position += length
    return None if b"moov" in kinds else "no 'moov' box: the file's index is missing"


def looks_like_mp4(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an mp4 or mov file."""
    return head[4:8] in FIRST_BOXES


def looks_like_avi(head: bytes) -> bool:
    """Whether the first twelve bytes of a file are those of an AVI file."""
    return head.startswith(b"RIFF") and head[8:12] == b"AVI "


def _refusal_of_opening(path: Path, error: av.error.FFmpegError) -> RefusedVideo:
    truncation = find_truncation(path)
    if truncation is not None:
        return RefusedVideo("truncated", truncation)
    with path.open("rb") as file:
        head = file.read(16)
    if looks_like_mp4(head):
        return RefusedVideo(
            "unreadable", f"its header is that of mp4 or mov, but FFmpeg says: {error.strerror}"
        )
    if _looks_like_other_video(head):
        return RefusedVideo("unreadable", f"its header is that of a video, but FFmpeg says: {error.strerror}")
    return RefusedVideo(
        "not_a_video", "its content is in none of the supported formats: " + ", ".join(DEMUXERS)
    )


def _looks_like_other_video(head: bytes) -> bool:
    is_matroska = head.startswith(b"\x1a\x45\xdf\xa3")
    is_mpeg = head.startswith((b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"))
    is_other = head.startswith((b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"nut/multimedia"))  # third: ASF
    return is_matroska or looks_like_avi(head) or is_mpeg or is_other
