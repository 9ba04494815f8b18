"""Demuxing and decoding that go on after damage, and tell of it."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import av.error
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

from preprocessing.media.container import RefusedVideo

if TYPE_CHECKING:
    AnyPacket = Packet[Stream]
else:
    AnyPacket = Packet  # at run time PyAV's class takes no parameter

# A demuxer that fails this often in a row will not find its way back into the file.
READ_ERRORS_IN_A_ROW: Final = 100


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
