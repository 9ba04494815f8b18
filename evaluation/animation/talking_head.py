"""The talking head: codes of a portrait, of faces and of sound in, pictures out.

One interface to the networks of a training run and to the released ones. Gains, smoothing and neutral values,
which differ between them, are in `PostprocessingConfig`.

Shape letters: N frames, S side of the pictures, D width of a code.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluation.animation.eye_parts import EyeParts
from evaluation.animation.postprocessing import PostprocessingConfig
from models.generator import Generator
from models.portrait_warp import Portrait
from models.style_vector import StyleVector
from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from training.data.frames import to_network_input
from training.data.sources import WindowFrom


@dataclass(frozen=True)
class FaceMotion:
    """Motion codes of faces: pose [N, 6], eye [N, 6], expression [N, 30], or [D] each of one frame."""

    pose: Tensor
    eye: Tensor
    expression: Tensor


@dataclass(frozen=True)
class EncodedPortrait:
    """What the generator knows of N portraits.

    code [N, D], part of the style vector; map [N, C, s, s]; image [N, 3, S, S], RGB in [-1, 1];
    motion_feature [N, D]: the portrait's own, from which the appearance path `warp` moves.
    """

    code: Tensor
    map: Tensor
    image: Tensor
    motion_feature: Tensor


class HeadNetworks(nn.Module, ABC):
    """The networks behind a talking head; pictures are [N, 3, S, S] RGB in [-1, 1].

    motion_side_px: side of the pictures from which motion is read; S of the others is the generator's.
    """

    generator: Generator
    motion_side_px: int

    @abstractmethod
    def appearance_of(self, image: Tensor, motion_image: Tensor) -> EncodedPortrait:
        """Appearance code and map of a face, with the face itself; `motion_image` at `motion_side_px`."""

    @abstractmethod
    def motion_of(self, motion_image: Tensor) -> FaceMotion:
        """Motion codes of each picture, at `motion_side_px`."""

    def scaled(self, style: StyleVector) -> StyleVector:
        """The style with its codes in the generator's units; as it is, unless a run measured scales."""
        return style

    @abstractmethod
    def lip_of(self, mel: Tensor) -> Tensor:
        """Lip codes [N, D] of mel windows [N, 1, 80, 20]."""


class TalkingHead:
    """Encodes and renders on one device, without gradients; the same input gives the same picture.

    Attributes:
        name: Of the checkpoint, for messages.
        side_px: S.
        postprocessing: Applied to the codes.
        expression_window_frames: K, the frames whose mean is a frame's expression, as in training.
        expression_window_from: Whether they were consecutive or spread over a clip.
        expression_span_frames: If they were spread, over how many frames; the mean is over as many.
        eye_parts: Which parts of the eye code are gaze and blinks; None if they were not separated.
    """

    def __init__(
        self,
        name: str,
        networks: HeadNetworks,
        postprocessing: PostprocessingConfig,
        expression_window_frames: int,
        eye_parts: EyeParts | None,
        device: torch.device,
        expression_window_from: WindowFrom = "consecutive",
        expression_span_frames: int = MAXIMUM_CLIP_FRAMES,
    ) -> None:
        self.name = name
        self.postprocessing = postprocessing
        self.expression_window_frames = expression_window_frames
        self.expression_window_from: WindowFrom = expression_window_from
        self.expression_span_frames = expression_span_frames
        self.eye_parts = eye_parts
        self._networks = networks.to(device).eval()
        self.device = device
        self.side_px = networks.generator.config.image_side_px

    @torch.inference_mode()
    def appearance(self, crop: NDArray[np.uint8]) -> EncodedPortrait:
        """Appearance of an aligned crop [H, W, 3]: code [1, D] and map [1, C, s, s]."""
        networks = self._networks
        return networks.appearance_of(
            self._input([crop], self.side_px), self._input([crop], networks.motion_side_px)
        )

    @torch.inference_mode()
    def motion(self, crops: Sequence[NDArray[np.uint8]]) -> FaceMotion:
        """Codes of N aligned crops [H, W, 3], each by itself, with the postprocessing' gains."""
        motion = self._networks.motion_of(self._input(crops, self._networks.motion_side_px))
        return FaceMotion(
            pose=motion.pose,
            eye=self.postprocessing.eye_gain * motion.eye,
            expression=self.postprocessing.expression_gain * motion.expression,
        )

    @torch.inference_mode()
    def lip(self, mels: NDArray[np.float32]) -> Tensor:
        """Lip codes [N, D] of mel windows [N, 1, 80, 20] in [0, 1], with the postprocessing' gain."""
        return self.postprocessing.lip_gain * self._networks.lip_of(torch.from_numpy(mels).to(self.device))

    @torch.inference_mode()
    def render(self, style: StyleVector, appearance: EncodedPortrait) -> NDArray[np.uint8]:
        """Pictures [N, S, S, 3] RGB of N styles, all of one appearance map [1, C, s, s].

        The generator uses the noise stored in its weights, the same in every frame: no flicker, and a frame
        does not depend on others of its batch.
        """
        vector = self._networks.scaled(style).to_vector().to(self.device)
        count = len(vector)
        maps = appearance.map.expand(count, -1, -1, -1)
        portrait = Portrait(
            appearance.image.expand(count, -1, -1, -1), appearance.motion_feature.expand(count, -1)
        )
        pictures: Tensor = self._networks.generator(vector, maps, noise="stored", portrait=portrait)
        levels = ((pictures + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8)
        return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _input(self, crops: Sequence[NDArray[np.uint8]], side_px: int) -> Tensor:
        frames = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
        return to_network_input(frames.to(self.device), side_px)
