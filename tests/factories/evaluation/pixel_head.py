"""A talking head whose pictures show its codes, and faces of one colour: what drives what can be read off."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from evaluation.animation.eye_parts import EyeParts
from evaluation.animation.postprocessing import PostprocessingConfig
from evaluation.animation.rendering import CONTROLS, AnimationInputs
from evaluation.animation.talking_head import EncodedPortrait, FaceMotion, HeadNetworks, TalkingHead
from models.generator import Generator
from models.portrait_warp import Portrait
from training.data.sources import WindowFrom

SIDE_PX: Final = 48
BAND_PX: Final = SIDE_PX // len(CONTROLS)


@dataclass(frozen=True)
class _Config:
    image_side_px: int = SIDE_PX


class PixelGenerator(nn.Module):
    """A band of rows a control in the order of `CONTROLS`, its code's values as columns; 0 is mid grey."""

    config = _Config()

    @override
    def forward(self, style: Tensor, appearance_map: Tensor, noise: str, *, portrait: Portrait) -> Tensor:
        assert len(style) == len(appearance_map) == len(portrait.image)
        assert noise == "stored"
        codes = torch.split(style, [1, 1, 2, 6, 6], dim=1)[1:]
        bands = [code.repeat_interleave(SIDE_PX // code.shape[1], dim=1) for code in codes]
        rows = torch.stack(bands, dim=1).repeat_interleave(BAND_PX, dim=1)
        return rows[:, None].expand(-1, 3, -1, -1)


class PixelNetworks(HeadNetworks):
    """Pose is the picture's red, eye its green, expression its blue; the lips are the window's middle."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = cast("Generator", PixelGenerator())
        self.motion_side_px = SIDE_PX
        self.encoded = 0

    @override
    def appearance_of(self, image: Tensor, motion_image: Tensor) -> EncodedPortrait:
        del motion_image
        rows = len(image)
        return EncodedPortrait(torch.zeros(rows, 1), torch.zeros(rows, 1, 1, 1), image, torch.zeros(rows, 1))

    @override
    def motion_of(self, motion_image: Tensor) -> FaceMotion:
        self.encoded += len(motion_image)
        red, green, blue = motion_image.mean(dim=(2, 3)).T[:, :, None]
        return FaceMotion(red.expand(-1, 6), green.expand(-1, 6), blue.expand(-1, 2))

    @override
    def lip_of(self, mel: Tensor) -> Tensor:
        # An impulse in the middle of the frame is in rows 10 to 17 of its window of 20.
        return mel[:, 0, :, 10:18].mean(dim=(1, 2))[:, None]


def pixel_head(
    postprocessing: PostprocessingConfig | None = None,
    *,
    window_frames: int = 1,
    window_from: WindowFrom = "consecutive",
    span_frames: int = 64,
    eye_parts: EyeParts | None = None,
) -> tuple[TalkingHead, PixelNetworks]:
    networks = PixelNetworks()
    postprocessing = postprocessing or PostprocessingConfig()
    device = torch.device("cpu")
    head = TalkingHead(
        "pixels", networks, postprocessing, window_frames, eye_parts, device, window_from, span_frames
    )
    return head, networks


@dataclass
class ColourFace:
    """Crops of one colour each; counts how many were taken."""

    path: Path
    colours: Sequence[tuple[int, int, int]]
    taken: list[int] = field(default_factory=list)

    def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
        for number in range(count):
            self.taken.append(number)
            yield colour(*self.colours[number % len(self.colours)])


def colour(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    return np.tile(np.array([red, green, blue], np.uint8), (SIDE_PX, SIDE_PX, 1))


def ramp(frames: int, start: int = 0) -> list[tuple[int, int, int]]:
    return [(start + 3 * n, start + 2 * n + 1, start + n + 2) for n in range(frames)]


def shown(pictures: Sequence[NDArray[np.uint8]], control: str) -> NDArray[np.int64]:
    """[N, 6] grey levels of a control's band: its first to sixth part."""
    row = BAND_PX * CONTROLS.index(control) + BAND_PX // 2
    columns = np.arange(6) * (SIDE_PX // 6) + 2
    return np.asarray([picture[row, columns, 0] for picture in pictures], np.int64)


def animation_inputs(
    faces: dict[str, ColourFace], frames: int, sound: NDArray[np.float32] | None = None
) -> AnimationInputs[ColourFace]:
    return AnimationInputs(colour(100, 110, 120), sound, faces, frames)
