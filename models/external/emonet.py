"""EmoNet: expression, valence and arousal from an image of a face (Toisoul, Kossaifi, Bulat et al. 2021).

Keys and shapes are those of the published `emonet_8.pth` and `emonet_5.pth`, which differ in the last layer
only. Two hourglasses of a face alignment network detect 68 landmarks; their features, weighted by the
landmark heat maps, pass through four blocks to one vector, from which expression, valence and arousal are
computed.

Shape letters: B samples, C channels, H, W rows and columns, E expressions.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.checkpoint_file import OfficialFile, load_checkpoint, read_state_dict
from models.shapes import require_shape
from models.trunks.landmark_trunk import LandmarkBlock

_LAST_BIAS: Final = "emo_fc_2.3.bias"


@dataclass(frozen=True)
class EmoNetConfig:
    """Sizes; the defaults are the published networks'."""

    expression_count: int = 8  # or 5
    image_side_px: int = 256
    stem_channels: int = 64
    middle_channels: int = 128
    channels: int = 256
    hourglass_depth: int = 4
    landmark_count: int = 68
    block_count: int = 4
    hidden_width: int = 128


EXPRESSIONS: Final = {
    8: ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
    5: ("neutral", "happy", "sad", "surprise", "anger"),
}
"""Names of the scores in `Emotion.expression`, by number of expressions."""


def emonet_file(expression_count: int) -> OfficialFile:
    """The published file with that number of expressions."""
    return OfficialFile(
        names=(f"emonet_{expression_count}.pth",),
        # As in the authors' loader; unlike there, every weight of the network must be in the file.
        by_intersection=True,
        # Training counters, which files older than torch 0.4.1 do not have and inference does not use.
        optional=(r".*\.num_batches_tracked",),
    )


@dataclass(frozen=True)
class Emotion:
    """Predictions for images.

    feature [B, 256]: ψ, from which the rest is computed; expression [B, E]: scores before their
    softmax, in the order of `EXPRESSIONS`; valence, arousal [B]: about -1 to 1.
    """

    feature: Tensor
    expression: Tensor
    valence: Tensor
    arousal: Tensor


class NearestHourglass(nn.Module):
    """Max-pool the map `depth` times and upsample it again, with a skip branch at every resolution.

    ``[B, C, H, W] -> [B, C, H, W]``, H and W multiples of 2 ** depth.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", LandmarkBlock(channels, channels))
        self.b2_plus_1 = LandmarkBlock(channels, channels)

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Refine maps [B, C, H, W]."""
        return self._level(self.depth, maps)

    def _level(self, level: int, maps: Tensor) -> Tensor:
        low = self.get_submodule(f"b2_{level}")(functional.max_pool2d(maps, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        doubled = functional.interpolate(low, scale_factor=2.0, mode="nearest")
        return self.get_submodule(f"b1_{level}")(maps) + doubled


class EmoNet(nn.Module):
    """A face alignment network with two hourglasses, and the emotion layers on its features."""

    def __init__(self, config: EmoNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, landmarks = config.channels, config.landmark_count
        self.conv1 = nn.Conv2d(3, config.stem_channels, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        self.conv2 = LandmarkBlock(config.stem_channels, config.middle_channels)
        self.conv3 = LandmarkBlock(config.middle_channels, config.middle_channels)
        self.conv4 = LandmarkBlock(config.middle_channels, channels)
        for number in (0, 1):
            self.add_module(f"m{number}", NearestHourglass(channels, config.hourglass_depth))
            self.add_module(f"top_m_{number}", LandmarkBlock(channels, channels))
            self.add_module(f"conv_last{number}", nn.Conv2d(channels, channels, 1))
            self.add_module(f"bn_end{number}", nn.BatchNorm2d(channels))
            self.add_module(f"l{number}", nn.Conv2d(channels, landmarks, 1))
        self.bl0 = nn.Conv2d(channels, channels, 1)
        self.al0 = nn.Conv2d(landmarks, channels, 1)
        self.conv1x1_input_emo_2 = nn.Conv2d(3 * channels, channels, 1)
        blocks = [
            layer
            for _ in range(config.block_count)
            for layer in (LandmarkBlock(channels, channels), nn.MaxPool2d(2))
        ]
        self.emo_net_2 = nn.Sequential(*blocks)
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(channels, config.hidden_width),
            nn.BatchNorm1d(config.hidden_width),
            nn.ReLU(),
            nn.Linear(config.hidden_width, config.expression_count + 2),
        )

    @override
    def forward(self, image: Tensor) -> Emotion:
        """Predict the emotion of faces.

        Args:
            image: [B, 3, 256, 256] RGB in [0, 1], centred on the box around the face's 68 landmarks.

        Raises:
            ValueError: the image has another shape.
        """
        side_px = self.config.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        feature = self._feature(image)
        output: Tensor = self.emo_fc_2(feature)
        return Emotion(feature, output[:, :-2], output[:, -2], output[:, -1])

    def _feature(self, image: Tensor) -> Tensor:
        maps = functional.relu(self.bn1(self.conv1(image)))
        maps = self.conv4(self.conv3(functional.max_pool2d(self.conv2(maps), 2)))
        features, heat = self._align(0, maps)
        first = self.bl0(features)
        second, heat = self._align(1, maps + first + self.al0(heat))
        attention = heat.sum(dim=1, keepdim=True)
        attended = torch.cat([maps, first * attention, second * attention], dim=1)
        reduced = self.emo_net_2(self.conv1x1_input_emo_2(attended))
        return functional.adaptive_avg_pool2d(reduced, 1).flatten(1)

    def _align(self, number: int, maps: Tensor) -> tuple[Tensor, Tensor]:
        """An hourglass: features [B, C, H, W] and the landmarks' heat maps [B, 68, H, W]."""
        refined = self.get_submodule(f"top_m_{number}")(self.get_submodule(f"m{number}")(maps))
        last = self.get_submodule(f"conv_last{number}")(refined)
        features = functional.relu(self.get_submodule(f"bn_end{number}")(last))
        return features, self.get_submodule(f"l{number}")(features)


def load_emonet(file: Path) -> EmoNet:
    """The network of 8 or 5 expressions, whichever the file holds, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read as weights alone, or is not EmoNet's.
    """
    last = read_state_dict(file).get(_LAST_BIAS)
    expression_count = 5 if last is not None and tuple(last.shape) == (5 + 2,) else 8
    network = EmoNet(EmoNetConfig(expression_count=expression_count))
    load_checkpoint(network, file, emonet_file(expression_count))
    return network.eval()
