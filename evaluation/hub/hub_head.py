"""A talking head for programs and notebooks: load once, animate many portraits.

head = torch.hub.load(REPOSITORY, "talking_head", "starter", source="local")
head.animate("face.jpg", "speech.wav", pose="nod.mp4", output="out.mp4")
"""

from pathlib import Path

from pydantic import TypeAdapter
from typing_extensions import override

from evaluation.animation.animate import animate_with
from evaluation.animation.loading import load_talking_head
from evaluation.animation.request import AnimateReport, AnimateRequest, Device, Strengths
from evaluation.animation.talking_head import TalkingHead
from storage.root import open_root

AnyPath = str | Path


class HubTalkingHead:
    """A loaded talking head.

    Attributes:
        head: Encodes and renders; pictures in, pictures out.
    """

    def __init__(self, head: TalkingHead) -> None:
        self.head = head

    @override
    def __repr__(self) -> str:
        return f"HubTalkingHead({self.head.name}, {self.head.side_px} px, {self.head.device})"

    def animate(
        self,
        portrait: AnyPath,
        sound: AnyPath | None = None,
        *,
        pose: AnyPath | None = None,
        eye: AnyPath | None = None,
        expression: AnyPath | None = None,
        output: AnyPath = "animation.mp4",
        seconds: float | None = None,
        strengths: Strengths | None = None,
    ) -> AnimateReport:
        """Animate a portrait and write a video.

        Args:
            portrait: A picture with one face.
            sound: Drives the lips: a sound file, or a video with sound.
            pose: Drives the head pose: a video or a picture.
            eye: Drives gaze and blinks.
            expression: Drives the expression.
            output: Video to write (.mp4); replaced if it exists.
            seconds: Length; default: that of the sound, else of the longest driver.
            strengths: How far each control goes from neutral (0) to its driver (1) and beyond.

        Raises:
            FileNotFoundError: an input does not exist.
            ValueError: an input cannot be used; one line that names it.
        """
        request = AnimateRequest(
            appearance=Path(portrait),
            lip=_path(sound),
            pose=_path(pose),
            eye=_path(eye),
            expression=_path(expression),
            output=Path(output),
            seconds=seconds,
            strengths=strengths or Strengths(),
        )
        return animate_with(self.head, request)


def load_hub_head(run_or_folder: str, device: str) -> HubTalkingHead:
    """A talking head by a run's name or an exported model's path. Raises as `load_talking_head`."""
    place: Device = TypeAdapter(Device).validate_python(device)
    return HubTalkingHead(load_talking_head(run_or_folder, open_root(), place))


def _path(value: AnyPath | None) -> Path | None:
    return None if value is None else Path(value)
