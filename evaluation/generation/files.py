"""What `generated_videos` publishes, and how the evaluations read it. They read nothing else.

    reenactment_plan.json               the list of reenactments
    facts.json                  side of the networks' pictures, and where each clip comes from
    videos/<name>.mp4           made by the run, at the networks' side, with the lip driver's sound
    clips/<key>.mp4             every clip used: 224 px crops with its sound, near-lossless
    portraits/<name>.png        224 px
    contact_sheet.jpg           one video beside its drivers

Every stream of pictures below is of RGB frames, uint8 [S, S, 3]. Torch and FFmpeg are loaded when read.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from upath import UPath

from evaluation.generation.reenactment import Reenactment, ReenactmentPlan, read_plan
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL
from storage.publishing import Published, current
from storage.root import local_copy

GENERATED_VIDEOS: Final = "generated_videos"
PLAN_NAME: Final = "reenactment_plan.json"
FACTS_NAME: Final = "facts.json"
CONTACT_SHEET: Final = "contact_sheet.jpg"
Pictures = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class ClipFacts:
    """Where a clip comes from."""

    identity: str
    video_id: str  # first 16 hex digits of the source's sha256
    relative_path: str  # of the source below its scanned folder
    first_frame: int  # on the source's 25 fps grid
    frames: int


@dataclass(frozen=True)
class VideoFacts:
    """What is the same for all videos.

    Attributes:
        checkpoint: Who made them, for people.
        side_px: Of the made pictures.
        clips: By key.
    """

    checkpoint: str
    side_px: int
    clips: Mapping[str, ClipFacts]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @staticmethod
    def read(path: Path) -> "VideoFacts":
        """Read what `write` wrote."""
        data: Any = json.loads(path.read_text("utf-8"))
        clips = {key: ClipFacts(**facts) for key, facts in data["clips"].items()}
        return VideoFacts(data["checkpoint"], data["side_px"], clips)


@dataclass(frozen=True)
class GeneratedVideos:
    """The published videos of a run, on this machine."""

    folder: Path
    plan: ReenactmentPlan
    facts: VideoFacts

    def video(self, name: str) -> Path:
        """The made video of a reenactment."""
        return video_path(self.folder, name)

    def clip(self, key: str) -> Path:
        """A clip as a video."""
        return clip_path(self.folder, key)

    def portrait(self, name: str) -> NDArray[np.uint8]:
        """A reenactment's portrait [224, 224, 3]."""
        with Image.open(portrait_path(self.folder, name)) as opened:
            return np.asarray(opened.convert("RGB"), np.uint8)

    def model_frames(self, reenactment: Reenactment) -> Pictures:
        """What the model made, S = `side_px`."""
        return video_frames(self.video(reenactment.name), reenactment.frames)

    def clip_frames(self, key: str, frames: int) -> Pictures:
        """The first frames of a clip, S = 224."""
        return video_frames(self.clip(key), frames)

    def method_frames(self, reenactment: Reenactment, method: str) -> Pictures | None:
        """A reenactment's pictures as a method of the tables has them, all at S = `side_px`.

        The baselines and the truth go through the networks' side as well, so that no method is better for
        having more pixels. None where there is no such method: only a self video has a truth.

        Raises:
            ValueError: no method of this name is made of a reenactment.
        """
        if method == MODEL:
            return self.model_frames(reenactment)
        if method == GROUND_TRUTH:
            return (
                self._squeezed(self.clip_frames(reenactment.portrait, reenactment.frames))
                if reenactment.task == "self"
                else None
            )
        if method == COPY_PORTRAIT:
            (still,) = self._squeezed(iter([self.portrait(reenactment.name)]))
            return repeat(still, reenactment.frames)
        if method == COPY_TARGET:
            return self._squeezed(self.clip_frames(reenactment.drivers["pose"], reenactment.frames))
        raise ValueError(f"method {method!r} is not made of a reenactment")

    def _squeezed(self, pictures: Pictures) -> Pictures:
        return (squeezed(picture, self.facts.side_px) for picture in pictures)


def video_path(folder: Path, name: str) -> Path:
    """Where a made video lies."""
    return folder / "videos" / f"{name}.mp4"


def clip_path(folder: Path, key: str) -> Path:
    """Where a clip lies."""
    return folder / "clips" / f"{key}.mp4"


def portrait_path(folder: Path, name: str) -> Path:
    """Where a portrait lies."""
    return folder / "portraits" / f"{name}.png"


def open_generated(root: UPath, run: str) -> tuple[Published, GeneratedVideos]:
    """The current videos of a run; of a bucket they are copied here.

    Raises:
        ValueError: there are none.
    """
    published = current(root, GENERATED_VIDEOS, run)
    if published is None:
        raise ValueError(f"run {run!r} has no generated videos under {root}: make `generated_videos` first")
    folder = local_copy(published.directory)
    plan, facts = read_plan(folder / PLAN_NAME), VideoFacts.read(folder / FACTS_NAME)
    return published, GeneratedVideos(folder, plan, facts)


def video_frames(path: Path, frames: int) -> Pictures:
    """The first pictures of a video at 25 fps.

    Raises:
        ValueError: it has fewer.
    """
    from evaluation.animation.media import read_pictures  # loads FFmpeg's libraries

    count = 0
    for frame in islice(read_pictures(path), frames):
        yield frame.image
        count += 1
    if count < frames:
        raise ValueError(f"{path} has {count} frames, need {frames}")


def squeezed(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A picture as the networks see it, [side_px, side_px, 3]; rounded as the model's own are."""
    import torch

    from training.data.frames import to_network_input

    small = to_network_input(torch.from_numpy(np.array(picture)).permute(2, 0, 1), side_px)
    levels = ((small + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
