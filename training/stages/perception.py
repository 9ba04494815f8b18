"""Perception (ours): a small network trained on the shards' labels, which then serves as φ, ψ and 𝒢."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from models.perception import Perceived, PerceptionConfig, PerceptionNetwork
from models.trunks.mesh_trunk import MeshTrunk, MeshTrunkConfig
from preprocessing.schema import CROP_SIDE_PX
from storage.settings import Settings
from training.data.augmentation.mirroring import mirror_half
from training.data.augmentation.pictures import ColourJitter, MotionAugmentation, augment_motion
from training.data.batches import LabelledFrames
from training.data.frame_features import FrameFeatures, compute_stage_features, keep_features
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.loader import LoaderSettings
from training.data.sources import LabelledFrameSource
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.losses.codes.pose import PoseScale, pose_in_rad_cm, pose_loss
from training.losses.distances import mean_absolute_difference
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows


class PerceptionWeights(Settings):
    """Loss weights; ours. The weighted losses start at about the same size."""

    landmarks: float = Field(default=5.0, ge=0, description="Landmark loss")
    pose: float = Field(default=5.0, ge=0, description="Pose loss")
    gaze: float = Field(default=10.0, ge=0, description="Gaze loss")
    blink: float = Field(default=2.0, ge=0, description="Blink loss")


class PerceptionStageSettings(Settings):
    """Settings of the stage; all defaults are ours."""

    weights: PerceptionWeights = PerceptionWeights()
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    pose_scale: PoseScale = PoseScale()
    # No perspective change: it would invalidate the labels.
    augmentation: MotionAugmentation = MotionAugmentation(colour=ColourJitter(hue_turns=0.1), perspective=0.0)
    cache_features: bool = Field(
        default=False,
        description="Compute the features of a trunk that is not trained (`MeshTrunkConfig`) once instead of "
        "at every step; frames are then not augmented",
    )
    mirror: bool = Field(default=False, description="Mirror every second frame, with its labels; ours")

    @model_validator(mode="after")
    def _check_mirror(self) -> "PerceptionStageSettings":
        if self.mirror and self.cache_features:
            raise ValueError("mirror needs cache_features off: features are those of the frames as they are")
        return self


class PerceptionModel(LossModule):
    """The network and its losses."""

    def __init__(self, config: PerceptionConfig, settings: PerceptionStageSettings) -> None:
        super().__init__()
        self.network = PerceptionNetwork(config)
        self._settings = settings

    @property
    def side_px(self) -> int:
        """Side of the network's input."""
        return self.network.config.trunk.image_side_px

    def perceive(self, batch: LabelledFrames, *, augmented: bool = False) -> Perceived:
        """Predictions for a batch's frames, or from their cached features."""
        if batch.features is not None:
            return self.network.read(batch.features)
        frames = to_network_input(batch.frames, self.side_px)
        if augmented:
            frames = augment_motion(frames, batch.facts.seeds, self._settings.augmentation)
        return self.network(frames)

    @override
    def forward(self, batch: LabelledFrames) -> StepResult:
        """L1 of landmarks, pose and gaze; cross entropy of blinks."""
        if self._settings.mirror and self.training:
            batch = mirror_half(batch)
        perceived = self.perceive(batch, augmented=True)
        return StepResult(
            {
                "landmarks": mean_absolute_difference(perceived.landmarks, normalised_landmarks(batch)),
                "pose": pose_loss(perceived.pose, batch.pose, self._settings.pose_scale),
                "gaze": mean_absolute_difference(perceived.gaze, batch.gaze),
                "blink": blink_loss(perceived.blink, batch.blink),
            }
        )


class PerceptionStage(Stage[LabelledFrames]):
    """Trains the whole network, or its heads on a mesh trunk; starts from random weights."""

    name = "perception"
    version = "2"
    settings_type = PerceptionStageSettings

    def __init__(self, context: StageContext, settings: PerceptionStageSettings) -> None:
        if settings.cache_features and not isinstance(context.networks.perception.trunk, MeshTrunkConfig):
            raise ValueError("cache_features of perception needs a trunk that is not trained (mesh)")
        self.settings = settings
        self._features: dict[str, FrameFeatures] = {}
        self.model = self._model = PerceptionModel(context.networks.perception, settings)
        self.loss_weights = vars(settings.weights)
        self.optimizer = settings.optimizer
        self.saved = {"perception": self._model.network}
        self.averaged = ("perception",)

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        """Standardise the features of a mesh trunk on all training frames, and keep them where configured.

        A trunk that an exported model brought (`start_from`) is standardised already, as its heads expect.
        """
        trunk = self._model.network.trunk
        if not isinstance(trunk, MeshTrunk):
            return
        measured = trunk.standardise.is_measured
        features = compute_stage_features(indexes, trunk, self._model.side_px, settings.workers)
        if not measured:
            trunk.measure(features[indexes[0].split].values)
            for index in indexes:
                table = features[index.split]
                standardised = dataclasses.replace(table, values=trunk.standardise(table.values))
                keep_features(index, trunk, self._model.side_px, standardised)
                features[index.split] = standardised
        if self.settings.cache_features:
            self._features |= features

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        return LabelledFrameSource(index, features=self._features.get(index.split))

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[HeldOutMetric]:
        """Mean absolute errors, against predicting the mean of the held-out labels."""
        errors: dict[str, list[Tensor]] = {}
        labels: dict[str, list[Tensor]] = {}
        for batch in batches:
            rows, half_px = real_rows(batch), crop_side_px(batch) / 2
            perceived = self._model.perceive(batch)
            pose = pose_in_rad_cm(perceived.pose[rows], self.settings.pose_scale)
            for name, predicted, label in (
                ("landmarks", perceived.landmarks[rows] * half_px,
                 normalised_landmarks(batch)[rows] * half_px),
                ("pose", torch.rad2deg(pose[:, :3]), torch.rad2deg(batch.pose[rows, :3])),
                ("gaze", torch.rad2deg(perceived.gaze[rows]), torch.rad2deg(batch.gaze[rows])),
                ("blink", perceived.blink[rows], batch.blink[rows]),
            ):  # fmt: skip
                errors.setdefault(name, []).append((predicted - label).abs().flatten(1).mean(1).cpu())
                labels.setdefault(name, []).append(label.cpu())
        units = {"landmarks": " px", "pose": "°", "gaze": "°", "blink": ""}
        return [
            HeldOutMetric(
                name=f"{name} error",
                value=float(torch.cat(errors[name]).mean()),
                chance=float(distance_to_mean(torch.cat(labels[name]))),
                higher_is_better=False,
                unit=unit,
                rows=len(torch.cat(errors[name])),
                # Gaze is the least accurate label, and the hardest to see at 64 px.
                decides=name != "gaze",
            )
            for name, unit in units.items()
        ]


def blink_loss(predicted: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of how far each eye is shut, [B, 2] in 0..1.

    Eyes are open most of the time, and L1 would favour predicting the median, "open".
    """
    with torch.autocast(predicted.device.type, enabled=False):  # torch has no cross entropy of bfloat16
        return functional.binary_cross_entropy(predicted.float(), label)


def normalised_landmarks(batch: LabelledFrames) -> Tensor:
    """Landmark labels in the network's units: [B, 478, 2], -1 to 1 from edge to edge of the image.

    0 px in a label is the centre of the first pixel.
    """
    return (batch.landmarks_px[..., :2] * 2 + 1) / crop_side_px(batch) - 1


def crop_side_px(batch: LabelledFrames) -> int:
    """Side of the crops in which the landmarks are, also of a batch without images."""
    return CROP_SIDE_PX if batch.features is not None else batch.frames.shape[-1]


def distance_to_mean(labels: Tensor) -> Tensor:
    """Mean absolute error of predicting the labels' mean."""
    return (labels - labels.mean(dim=0)).abs().mean()


STAGE: Final = PerceptionStage
