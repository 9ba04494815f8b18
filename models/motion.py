"""The motion encoder: one trunk, with heads for lips, head pose, eyes and expression.

Shape letters: B samples, D width of a feature or code.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from models.trunks.landmark_trunk import LandmarkTrunkConfig
from models.trunks.mesh_trunk import TrunkConfig, build_trunk


@dataclass(frozen=True)
class MotionConfig:
    """Sizes of trunk and codes; the defaults are the released network's."""

    trunk: TrunkConfig = LandmarkTrunkConfig()
    head_width: int = 512
    lip_width: int = 500
    pose_width: int = 6
    eye_width: int = 6
    expression_width: int = 30


@dataclass(frozen=True)
class MotionCodes:
    """The codes of a frame.

    pose [B, 6], eye [B, 6], expression [B, 30], and the lip feature [B, 512], which
    `MotionEncoder.lip_code` turns into the lip code [B, 500].
    """

    pose: Tensor
    eye: Tensor
    expression: Tensor
    lip_feature: Tensor


class MotionEncoder(nn.Module):
    """Shared trunk and four heads, each a feature (`to_*`) and a code computed from it (`*_embed`).

    Modules have the names of the released file: mouth = lip, headpose = pose, emo = expression.
    """

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        self.model = build_trunk(config.trunk)
        trunk_width, head_width = config.trunk.feature_width, config.head_width
        self.to_mouth = feature_head(trunk_width, head_width)
        self.mouth_embed = code_head(head_width, config.lip_width)
        self.to_headpose = feature_head(trunk_width, head_width)
        self.headpose_embed = code_head(head_width, config.pose_width)
        self.to_eye = feature_head(trunk_width, head_width)
        self.eye_embed = code_head(head_width, config.eye_width)
        self.to_emo = feature_head(trunk_width, head_width)
        self.emo_embed = code_head(head_width, config.expression_width)

    def motion_feature(self, image: Tensor) -> Tensor:
        """The unified motion feature [B, 512] of images [B, 3, 224, 224], RGB in [-1, 1]."""
        return self.model(image)

    def lip_feature(self, motion_feature: Tensor) -> Tensor:
        """The lip feature: [B, 512] -> [B, 512]; comparable with the audio feature."""
        return self.to_mouth(motion_feature)

    def lip_code(self, lip_feature: Tensor) -> Tensor:
        """The lip code of the style vector: [B, 512] -> [B, 500]."""
        return self.mouth_embed(lip_feature)

    def pose_code(self, motion_feature: Tensor) -> Tensor:
        """The pose code: [B, 512] -> [B, 6]."""
        return self.headpose_embed(self.to_headpose(motion_feature))

    def eye_code(self, motion_feature: Tensor) -> Tensor:
        """The eye code: [B, 512] -> [B, 6]."""
        return self.eye_embed(self.to_eye(motion_feature))

    def expression_code(self, motion_feature: Tensor) -> Tensor:
        """The expression code: [B, 512] -> [B, 30]."""
        return self.emo_embed(self.to_emo(motion_feature))

    @override
    def forward(self, image: Tensor) -> MotionCodes:
        """All codes of images [B, 3, 224, 224], RGB in [-1, 1].

        Raises:
            ValueError: the image has another shape.
        """
        feature = self.motion_feature(image)
        return MotionCodes(
            pose=self.pose_code(feature),
            eye=self.eye_code(feature),
            expression=self.expression_code(feature),
            lip_feature=self.lip_feature(feature),
        )


def feature_head(input_width: int, width: int) -> nn.Sequential:
    """Linear, ReLU, batch normalisation, linear: [B, input] -> [B, width]."""
    return nn.Sequential(
        nn.Linear(input_width, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Linear(width, width)
    )


def code_head(input_width: int, width: int) -> nn.Sequential:
    """ReLU and a linear layer: [B, input] -> [B, width]."""
    return nn.Sequential(nn.ReLU(), nn.Linear(input_width, width))
