"""Which decoded pictures are damaged, or predicted from damaged ones.

Decoders report errors instead of concealing them (`err_detect` explode). From an error on, every
picture may be smeared, until a key frame that was decoded without one.
"""

from dataclasses import dataclass
from typing import Final

from av.video.frame import VideoFrame as SourceFrame

from preprocessing.media.container import AnyPacket

REPORT_ERRORS: Final = {"err_detect": "explode"}  # option of FFmpeg's decoders


@dataclass(frozen=True)
class Judgement:
    """Of a picture."""

    is_damaged: bool  # it may be smeared
    follows_error: bool  # pictures may be missing before it


class DamageMonitor:
    """Follows one video stream, packet by packet.

    Attributes:
        is_damaged: whether pictures that the decoder returns now may be damaged.
    """

    def __init__(self) -> None:
        self.is_damaged = False
        self._had_clean_key_packet = False
        self._follows_error = False

    def note_error(self) -> None:
        """Packets before the next one were lost, or could not be decoded."""
        self.is_damaged = self._follows_error = True
        self._had_clean_key_packet = False

    def note_packet(self, packet: AnyPacket, failed: bool) -> None:
        """Note a packet that was given to the decoder, and whether it failed."""
        if failed or packet.is_corrupt:
            self.note_error()
        elif packet.is_keyframe:
            self._had_clean_key_packet = True

    def judge(self, frame: SourceFrame) -> "Judgement":
        """Judge a picture; call it for each, in the decoder's order."""
        if frame.is_corrupt:
            self.note_error()
        elif self.is_damaged and frame.key_frame and self._had_clean_key_packet:
            self.is_damaged = False
        judgement = Judgement(self.is_damaged, self._follows_error)
        self._follows_error = False
        return judgement
