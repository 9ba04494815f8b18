"""Perception: a small network learns the shards' own labels, then serves as φ, ψ and 𝒢 (ours)."""

from collections.abc import Iterable
from typing import Final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from models.perception import Perceived, PerceptionConfig, PerceptionNetwork
from storage.settings import Settings
from training.data.augmentation import ColourJitter, MotionAugmentation, augment_motion
from training.data.batches import LabelledFrames
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.sources import LabelledFrameSource
from training.engine.settings import OptimiserSettings
from training.losses.distances import mean_absolute_difference
from training.losses.pose import PoseScale, pose_in_rad_cm, pose_loss
from training.stages.stage import Figure, Player, Stage, StageContext, StepResult, real_rows


class PerceptionWeights(Settings):
    """Weights of the losses; ours. Each loss is about as large as the others at the start."""

    landmarks: float = Field(default=5.0, ge=0, description="Landmark loss")
    pose: float = Field(default=5.0, ge=0, description="Pose loss")
    gaze: float = Field(default=10.0, ge=0, description="Gaze loss")
    blink: float = Field(default=2.0, ge=0, description="Blink loss")


class PerceptionSettings(Settings):
    """The stage is ours, so is every default."""

    weights: PerceptionWeights = PerceptionWeights()
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    pose_scale: PoseScale = PoseScale()
    # Perspective would change what the labels say.
    augmentation: MotionAugmentation = MotionAugmentation(colour=ColourJitter(hue_turns=0.1), perspective=0.0)


class PerceptionModel(Player):
    """The network and its losses."""

    def __init__(self, config: PerceptionConfig, settings: PerceptionSettings) -> None:
        super().__init__()
        self.network = PerceptionNetwork(config)
        self._settings = settings

    @property
    def side_px(self) -> int:
        """Side of the network's input."""
        return self.network.config.trunk.image_side_px

    @override
    def forward(self, batch: LabelledFrames) -> StepResult:
        """L1 of every kind of label; cross entropy of the blinks."""
        frames = to_network_input(batch.frames, self.side_px)
        seen: Perceived = self.network(augment_motion(frames, batch.facts.seeds, self._settings.augmentation))
        return StepResult(
            {
                "landmarks": mean_absolute_difference(seen.landmarks, landmarks_in_picture(batch)),
                "pose": pose_loss(seen.pose, batch.pose, self._settings.pose_scale),
                "gaze": mean_absolute_difference(seen.gaze, batch.gaze),
                "blink": blink_loss(seen.blink, batch.blink),
            }
        )


class PerceptionStage(Stage[LabelledFrames]):
    """Trains the whole network; starts from nothing."""

    name = "perception"
    version = "1"
    settings_type = PerceptionSettings

    def __init__(self, context: StageContext, settings: PerceptionSettings) -> None:
        self.settings = settings
        self.model = self._model = PerceptionModel(context.networks.perception, settings)
        self.adversary, self.adversary_optimiser = None, None
        self.loss_weights = vars(settings.weights)
        self.optimiser = settings.optimiser
        self.saved = {"perception": self._model.network}
        self.averaged = ("perception",)

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        return LabelledFrameSource(index)

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[Figure]:
        """Mean absolute errors against those of the held-out labels' own mean, the best constant guess."""
        errors: dict[str, list[Tensor]] = {}
        labels: dict[str, list[Tensor]] = {}
        for batch in batches:
            rows = real_rows(batch)
            seen: Perceived = self._model.network(to_network_input(batch.frames[rows], self._model.side_px))
            pose = pose_in_rad_cm(seen.pose, self.settings.pose_scale)
            for name, said, label in (
                ("landmarks", seen.landmarks * batch.frames.shape[-1] / 2,
                 landmarks_in_picture(batch)[rows] * batch.frames.shape[-1] / 2),
                ("pose", torch.rad2deg(pose[:, :3]), torch.rad2deg(batch.pose[rows, :3])),
                ("gaze", torch.rad2deg(seen.gaze), torch.rad2deg(batch.gaze[rows])),
                ("blink", seen.blink, batch.blink[rows]),
            ):  # fmt: skip
                errors.setdefault(name, []).append((said - label).abs().flatten(1).mean(1).cpu())
                labels.setdefault(name, []).append(label.cpu())
        units = {"landmarks": " px", "pose": "°", "gaze": "°", "blink": ""}
        return [
            Figure(
                name=f"{name} error",
                value=float(torch.cat(errors[name]).mean()),
                chance=float(distance_to_mean(torch.cat(labels[name]))),
                higher_is_better=False,
                unit=unit,
                rows=len(torch.cat(errors[name])),
                # Gaze is the labeller's weakest label and the hardest to see at 64 px.
                decides=name != "gaze",
            )
            for name, unit in units.items()
        ]


STAGE: Final = PerceptionStage


def blink_loss(told: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of how far each eye is shut, [B, 2] in 0..1.

    Eyes are open most of the time: under an L1 the best answer of a network that is in doubt is "open".
    """
    with torch.autocast(told.device.type, enabled=False):  # torch has no cross entropy of bfloat16
        return functional.binary_cross_entropy(told.float(), label)


def landmarks_in_picture(batch: LabelledFrames) -> Tensor:
    """The labels' landmarks as the network tells them: [B, 478, 2], -1 to 1 from edge to edge.

    A label's 0 px is the first pixel's centre.
    """
    side_px = batch.frames.shape[-1]
    return (batch.landmarks_px[..., :2] * 2 + 1) / side_px - 1


def distance_to_mean(labels: Tensor) -> Tensor:
    """Mean absolute error of always guessing the labels' mean."""
    return (labels - labels.mean(dim=0)).abs().mean()
