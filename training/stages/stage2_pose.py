"""Stage 2, pose: regression of head pose labels (PD-FGC).

Trains the pose head and its code on stage 1's frozen motion feature.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from storage.settings import Settings
from training.data.batches import LabelledFrames
from training.data.frame_features import FrameFeatures, compute_stage_features
from training.data.index import ClipIndex
from training.data.loader import LoaderSettings
from training.data.sources import LabelledFrameSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.losses.codes.pose import PoseScale, pose_in_rad_cm, pose_loss
from training.stages.encoders import MotionFeature, motion_encoder_on_stage1
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows

ANGLES: Final = ("pitch", "yaw", "roll")


class PoseStageSettings(Settings):
    """Settings of the pose stage.

    scale: the units of the code, which balance angles and translation; unverified, see `PoseScale`.

    Frames are not augmented: a perspective change would alter the pose that the label describes.
    """

    scale: PoseScale = PoseScale()
    cache_features: bool = Field(
        default=False, description="Compute the frozen trunk's features once instead of at every step"
    )
    optimizer: OptimizerSettings = OptimizerSettings()


class PoseModel(LossModule):
    """The pose head and its loss."""

    def __init__(self, context: StageContext, settings: PoseStageSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion)
        self.to_headpose = motion.to_headpose
        self.headpose_embed = motion.headpose_embed

    def code(self, batch: LabelledFrames) -> Tensor:
        """The pose code [B, 6], in the scale's units."""
        feature = batch.features
        if feature is None:
            feature = self.motion_feature(batch.frames[:, None], batch.facts)[:, 0]
        return self.headpose_embed(self.to_headpose(feature))

    @override
    def forward(self, batch: LabelledFrames) -> StepResult:
        """L_pose."""
        return StepResult({"pose": pose_loss(self.code(batch), batch.pose, self.settings.scale)})


class PoseStage(Stage[LabelledFrames]):
    """Stage 2, pose: trains the pose head; starts from stage 1's trunk, frozen."""

    name = "stage2_pose"
    version = "1"
    settings_type = PoseStageSettings

    def __init__(self, context: StageContext, settings: PoseStageSettings) -> None:
        self.settings = settings
        self.model = self.pose_model = PoseModel(context, settings)
        self.loss_weights = {"pose": 1.0}
        self.optimizer = settings.optimizer
        self._features: dict[str, FrameFeatures] = {}
        self.saved = {
            "motion.to_headpose": self.pose_model.to_headpose,
            "motion.headpose_embed": self.pose_model.headpose_embed,
        }

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        if self.settings.cache_features:
            motion = self.pose_model.motion_feature
            self._features = compute_stage_features(
                indexes, motion.trunk.network, motion.side_px, settings.workers
            )

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        """One labelled frame per clip."""
        return LabelledFrameSource(index, features=self._features.get(index.split))

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[HeldOutMetric]:
        """Mean absolute errors against the labels: degrees per angle and over all three, centimetres.

        The chance level is the error of the best constant prediction, the median of the held-out labels: no
        prediction that ignores the image does better. The angles decide. The translation does not, because
        distance and head size are ambiguous in one image, and this median knows these people's sizes.

        Raises:
            ValueError: no row counts.
        """
        predictions, labels = list[Tensor](), list[Tensor]()
        for batch in batches:
            rows = real_rows(batch)
            predictions.append(pose_in_rad_cm(self.pose_model.code(batch), self.settings.scale)[rows].cpu())
            labels.append(batch.pose[rows].cpu())
        predicted, label = torch.cat(predictions), torch.cat(labels)
        if not len(label):
            raise ValueError("the held-out batches have no real row")
        constant = label.quantile(0.5, dim=0)
        return pose_metrics((predicted - label).abs(), (constant - label).abs())


def pose_metrics(error_rad_cm: Tensor, constant_error_rad_cm: Tensor) -> list[HeldOutMetric]:
    """Metrics of absolute errors [N, 6] in rad and cm, and of those of the constant prediction."""
    rows = len(error_rad_cm)
    value, chance = (errors.double().mean(dim=0) for errors in (error_rad_cm, constant_error_rad_cm))
    value[:3], chance[:3] = value[:3].rad2deg(), chance[:3].rad2deg()
    parts = {
        "head angle error": (slice(0, 3), "°", True),
        **{f"head {name} error": (slice(axis, axis + 1), "°", False) for axis, name in enumerate(ANGLES)},
        "head translation error": (slice(3, 6), " cm", False),
    }
    return [
        HeldOutMetric(
            name=name,
            value=value[part].mean().item(),
            chance=chance[part].mean().item(),
            higher_is_better=False,
            unit=unit,
            rows=rows,
            decides=decides,
        )
        for name, (part, unit, decides) in parts.items()
    ]


STAGE: Final = PoseStage
