"""Stage 2, pose: six numbers against the labels of a 3-D face reconstruction (PD-FGC).

Trains the pose head and its code on stage 1's frozen motion feature.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor
from typing_extensions import override

from storage.settings import Settings
from training.data.batches import LabelledFrames
from training.data.index import ClipIndex
from training.data.sources import LabelledFrameSource
from training.engine.settings import OptimiserSettings
from training.losses.pose import PoseScale, pose_in_rad_cm, pose_loss
from training.stages.motion_feature import MotionFeature, motion_encoder_on_stage1
from training.stages.stage import Figure, Player, Stage, StageContext, StepResult, real_rows

ANGLES: Final = ("pitch", "yaw", "roll")


class PoseSettings(Settings):
    """How the pose stage trains.

    scale: the code's units, which balance angles and translation; unverified, see there.

    Frames are not augmented: a change of perspective would turn the head against its label.
    """

    scale: PoseScale = PoseScale()
    optimiser: OptimiserSettings = OptimiserSettings()


class PosePlayer(Player):
    """The pose head and its loss."""

    def __init__(self, context: StageContext, settings: PoseSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion)
        self.to_headpose = motion.to_headpose
        self.headpose_embed = motion.headpose_embed

    def code(self, batch: LabelledFrames) -> Tensor:
        """The pose code [B, 6], in the scale's units."""
        feature = self.motion_feature(batch.frames[:, None], batch.facts)[:, 0]
        return self.headpose_embed(self.to_headpose(feature))

    @override
    def forward(self, batch: LabelledFrames) -> StepResult:
        """L_pose of a batch."""
        return StepResult({"pose": pose_loss(self.code(batch), batch.pose, self.settings.scale)})


class PoseStage(Stage[LabelledFrames]):
    """Stage 2, pose."""

    name = "stage2_pose"
    version = "1"
    settings_type = PoseSettings

    def __init__(self, context: StageContext, settings: PoseSettings) -> None:
        self.settings = settings
        self.player = PosePlayer(context, settings)
        self.model = self.player
        self.adversary = None
        self.loss_weights = {"pose": 1.0}
        self.optimiser = settings.optimiser
        self.adversary_optimiser = None
        self.saved = {
            "motion.to_headpose": self.player.to_headpose,
            "motion.headpose_embed": self.player.headpose_embed,
        }
        self.averaged = ()

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        """A labelled frame a clip."""
        return LabelledFrameSource(index)

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[Figure]:
        """Mean absolute errors against the labels: degrees an angle and over all three, centimetres.

        Chance is what the best single answer reaches, the median of the held-out labels themselves: no
        answer that ignores the picture does better. It knows more than the mean of the training labels,
        which people of other sizes made. The angles decide. The translation does not: how far away a head
        is and how large it is look alike, and this chance knows the very people's sizes.

        Raises:
            ValueError: no row counts.
        """
        told, labels = list[Tensor](), list[Tensor]()
        for batch in batches:
            rows = real_rows(batch)
            told.append(pose_in_rad_cm(self.player.code(batch), self.settings.scale)[rows].cpu())
            labels.append(batch.pose[rows].cpu())
        pose_told, pose_label = torch.cat(told), torch.cat(labels)
        if not len(pose_label):
            raise ValueError("no row of the held-out batches counts")
        constant = pose_label.quantile(0.5, dim=0)
        return pose_figures((pose_told - pose_label).abs(), (constant - pose_label).abs())


STAGE: Final = PoseStage


def pose_figures(error_rad_cm: Tensor, constant_error_rad_cm: Tensor) -> list[Figure]:
    """Figures of absolute errors [N, 6] in rad and cm, and of the constant answer's."""
    rows = len(error_rad_cm)
    value, chance = (errors.double().mean(dim=0) for errors in (error_rad_cm, constant_error_rad_cm))
    value[:3], chance[:3] = value[:3].rad2deg(), chance[:3].rad2deg()
    parts = {
        "head angle error": (slice(0, 3), "°", True),
        **{f"head {name} error": (slice(axis, axis + 1), "°", False) for axis, name in enumerate(ANGLES)},
        "head translation error": (slice(3, 6), " cm", False),
    }
    return [
        Figure(
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
