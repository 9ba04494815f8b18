"""The files of `generated_videos`, and how the evaluations read them; they read nothing else.

    reenactment_plan.json       the list of reenactments
    facts.json                  side of the networks' pictures, and the source of each clip
    videos/<name>.mp4           rendered by the run, at the networks' side, with the lip driver's sound
    clips/<key>.mp4             every clip used: 224 px crops with its sound, near-lossless
    portraits/<name>.png        224 px
    contact_sheet.jpg           two videos beside their drivers

Every stream of pictures is of RGB frames, uint8 [S, S, 3]. Torch and FFmpeg are imported when files are read.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
from storage.root import verified_copy

GENERATED_VIDEOS: Final = "generated_videos"
PLAN_NAME: Final = "reenactment_plan.json"
FACTS_NAME: Final = "facts.json"
CONTACT_SHEET: Final = "contact_sheet.jpg"
Pictures = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class ClipFacts:
    """Source of a clip."""

    identity: str
    video_id: str  # first 16 hex digits of the source's sha256
    relative_path: str  # of the source below its scanned folder
    first_frame: int  # on the source's 25 fps grid
    frames: int
    annotations: dict[str, Any] = field(default_factory=dict[str, Any])  # labels of a list


@dataclass(frozen=True)
class VideoFacts:
    """Facts common to all videos.

    Attributes:
        checkpoint: The talking head that rendered them, for display.
        side_px: Of the rendered pictures.
        clips: By key.
    """

    checkpoint: str
    side_px: int
    clips: Mapping[str, ClipFacts]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        data = asdict(self)
        for facts in data["clips"].values():
            if not facts["annotations"]:
                del facts["annotations"]
        path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")

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
        """The rendered video of a reenactment."""
        return video_path(self.folder, name)

    def clip(self, key: str) -> Path:
        """A clip as a video."""
        return clip_path(self.folder, key)

    def portrait(self, name: str) -> NDArray[np.uint8]:
        """A reenactment's portrait [224, 224, 3]."""
        with Image.open(portrait_path(self.folder, name)) as opened:
            return np.asarray(opened.convert("RGB"), np.uint8)

    def model_frames(self, reenactment: Reenactment) -> Pictures:
        """Pictures of the rendered video, S = `side_px`."""
        return video_frames(self.video(reenactment.name), reenactment.frames)

    def clip_frames(self, key: str, frames: int) -> Pictures:
        """The first frames of a clip, S = 224."""
        return video_frames(self.clip(key), frames)

    def method_frames(self, reenactment: Reenactment, method: str) -> Pictures | None:
        """Pictures of a reenactment by a method, all at S = `side_px`.

        The baselines and the truth are resized to the networks' side as well, so that no method is better
        for its resolution. None if the method has no video of this task: only self videos have a truth.

        Raises:
            ValueError: an unknown method.
        """
        if method == MODEL:
            return self.model_frames(reenactment)
        if method == GROUND_TRUTH:
            return (
                self._resized(self.clip_frames(reenactment.portrait, reenactment.frames))
                if reenactment.task == "self"
                else None
            )
        if method == COPY_PORTRAIT:
            (still,) = self._resized(iter([self.portrait(reenactment.name)]))
            return repeat(still, reenactment.frames)
        if method == COPY_TARGET:
            return self._resized(self.clip_frames(reenactment.drivers["pose"], reenactment.frames))
        raise ValueError(f"no videos of method {method!r}")

    def _resized(self, pictures: Pictures) -> Pictures:
        return (resize_roundtrip(picture, self.facts.side_px) for picture in pictures)


def video_path(folder: Path, name: str) -> Path:
    """Path of a rendered video."""
    return folder / "videos" / f"{name}.mp4"


def clip_path(folder: Path, key: str) -> Path:
    """Path of a clip."""
    return folder / "clips" / f"{key}.mp4"


def portrait_path(folder: Path, name: str) -> Path:
    """Path of a portrait."""
    return folder / "portraits" / f"{name}.png"


def open_generated(root: UPath, run: str) -> tuple[Published, GeneratedVideos]:
    """The current videos of a run, copied to this machine if they are in a bucket.

    Raises:
        ValueError: there are none.
    """
    published = current(root, GENERATED_VIDEOS, run)
    if published is None:
        raise ValueError(
            f"run {run!r} has no generated videos under {root}: materialise `generated_videos` first"
        )
    folder = verified_copy(published.directory)
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


def resize_roundtrip(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A picture at the networks' side, uint8 [side_px, side_px, 3], rounded as rendered ones are."""
    import torch

    from training.data.frames import to_network_input

    small = to_network_input(torch.from_numpy(np.array(picture)).permute(2, 0, 1), side_px)
    levels = ((small + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
