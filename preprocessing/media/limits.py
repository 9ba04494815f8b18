"""How large a media file may be: duration, pictures, pixels; checked before time or memory is spent on it."""

from fractions import Fraction
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream
from pydantic import Field

from preprocessing.media.container import RefusedVideo
from preprocessing.schema import FRAMES_PER_SECOND
from storage.settings import Settings

TOO_LARGE: Final = "too_large"
TOO_LONG: Final = "too_long"
MANY_PIXELS: Final = 2**26  # 8192 x 8192


class MediaLimits(Settings):
    """Largest duration and pictures of a file that is read."""

    maximum_hours: float = Field(
        default=12.0, gt=0.0, le=1000.0, description="Maximum duration of a video or a sound file"
    )
    maximum_frames: int = Field(
        default=3_000_000, ge=1, le=10**9, description="Maximum number of pictures of a video"
    )
    maximum_pixels: int = Field(
        default=MANY_PIXELS,
        ge=256,
        le=2**30,
        description="Maximum width times height of a picture, checked before it is decoded",
    )

    @property
    def maximum_places(self) -> int:
        """Pictures on the 25 fps grid."""
        return int(self.maximum_hours * 3600 * FRAMES_PER_SECOND)

    def check_seconds(self, seconds: float | Fraction) -> None:
        """Raise RefusedVideo `too_long` for a duration in seconds."""
        if seconds > self.maximum_hours * 3600:
            raise RefusedVideo(
                TOO_LONG, f"{float(seconds) / 3600:.1f} hours, need at most {self.maximum_hours:g}"
            )

    def check_frames(self, frames: int, size_bytes: int) -> None:
        """Refuse a number of pictures.

        Raises:
            RefusedVideo: `too_long`; `damaged`: there are more pictures than the file has bytes.
        """
        if frames > size_bytes:
            raise RefusedVideo("damaged", f"{frames} pictures, more than the file has bytes ({size_bytes})")
        if frames > self.maximum_frames:
            raise RefusedVideo(TOO_LONG, f"{frames} pictures, need at most {self.maximum_frames}")

    def check_size(self, width_px: int, height_px: int) -> None:
        """Raise RefusedVideo `too_large` for the size of a picture."""
        if width_px * height_px > self.maximum_pixels:
            raise RefusedVideo(
                TOO_LARGE,
                f"{width_px} x {height_px} px is {width_px * height_px} pixels, need at most "
                f"{self.maximum_pixels}",
            )

    def check_headers(self, container: InputContainer, video: VideoStream | None) -> None:
        """Refuse a file by what its headers say, before anything is decoded.

        From then on the decoder refuses larger pictures itself, which counts as damage.

        Raises:
            RefusedVideo: `too_long`, `too_large` or `damaged`.
        """
        if container.duration is not None:
            self.check_seconds(Fraction(container.duration, 1_000_000))
        if video is None:
            return
        self.check_frames(video.frames, container.size)
        self.check_size(video.codec_context.width, video.codec_context.height)
        video.codec_context.options = {
            **video.codec_context.options,
            "max_pixels": str(self.maximum_pixels),
        }
