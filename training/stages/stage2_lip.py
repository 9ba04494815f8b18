"""Stage 2, lip: lips and speech share one feature space (PD-FGC).

Trains the lip head on stage 1's frozen motion feature, and the audio encoder up to its feature. The layers
that read the lip code from either feature (`mouth_embed`) are not part of these losses: stage 3 trains them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.audio import AudioEncoder
from training.data.augmentation.sound import SoundAugmentation, augment_sound
from training.data.batches import LipWindows
from training.data.frame_features import FrameFeatures, compute_stage_features
from training.data.index import ClipIndex
from training.data.lip_windows import LipWindowSettings, LipWindowSource
from training.data.loader import LoaderSettings
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.losses.codes.contrastive import FORMULA_TEMPERATURE, in_batch_contrastive_loss
from training.losses.codes.lip_contrastive import audio_to_video_loss, video_to_audio_loss
from training.losses.distances import cosine_similarity
from training.stages.encoders import (
    CachedTrunkSettings,
    MotionFeature,
    frame_seeds,
    motion_encoder_on_stage1,
    never_compiled,
)
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows

TIE: Final = 1e-6
"""Similarities that differ by less count as equal. Ours: about ten times the rounding of a float32 cosine."""


class LipStageSettings(CachedTrunkSettings):
    """Settings of the lip stage.

    windows: K and the gap within a clip; unverified, see `LipWindowSettings`.
    measured_windows: the same for the held-out metrics, on every split but `train`. Separate from training,
        so
        that runs with another K have the same chance level.
    temperature: τ. The formulas have none, which means 1.0; unverified whether training used a smaller one.
    audio_to_video_weight, video_to_audio_weight: of L_a2v and L_v2a. The paper gives none; unverified.
    negatives_from_batch: use all other windows of the batch as negatives of each window: B (1 + K)
        terms with B (1 + K) - 1 negatives, at the cost of B terms with K. The paper's formulas have K;
        unverified how they were drawn. Ours, off by default. Of the process's batch, or of all processes'
        (`TrainerSettings.gather_over_ranks`).
    """

    windows: LipWindowSettings = LipWindowSettings()
    measured_windows: LipWindowSettings = LipWindowSettings()
    temperature: float = Field(default=FORMULA_TEMPERATURE, gt=0)
    audio_to_video_weight: float = Field(default=1.0, ge=0)
    video_to_audio_weight: float = Field(default=1.0, ge=0)
    negatives_from_batch: bool = False
    sound_augmentation: SoundAugmentation | None = Field(
        default=None, description="Changes the sound of every window, in training; ours. None: no change"
    )
    optimizer: OptimizerSettings = OptimizerSettings()


@dataclass(frozen=True)
class LipFeatures:
    """Features of each row's own window, then of its K negatives; both [B, 1 + K, D]."""

    video: Tensor  # f_v = E_lip(E_mot(v))
    audio: Tensor  # f_a = E_aud(a)


class LipModel(LossModule):
    """Both encoders and the two losses."""

    def __init__(self, context: StageContext, settings: LipStageSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion, settings.augmentation)
        self.to_mouth = motion.to_mouth
        self.audio = AudioEncoder(context.networks.audio).model

    def features(self, batch: LipWindows) -> LipFeatures:
        """All windows in one pass, so that they share the statistics of batch normalisation."""
        mels = torch.cat([batch.mels[:, None], batch.negative_mels], dim=1)
        feature = batch.features
        if feature is None:
            frames = torch.cat([batch.frames[:, None], batch.negative_frames], dim=1)
            feature = self.motion_feature(frames, batch.facts)
        video = self.to_mouth(feature.flatten(0, 1))
        audio = self.audio(self._heard(mels, batch.facts.seeds))
        return LipFeatures(*(side.unflatten(0, mels.shape[:2]) for side in (video, audio)))

    @never_compiled
    def _heard(self, mels: Tensor, seeds: Sequence[int]) -> Tensor:
        """Mel windows [B, W, 1, 80, 20] as the audio encoder gets them, [B W, 1, 80, 20]."""
        flat, change = mels.flatten(0, 1), self.settings.sound_augmentation
        if not self.training or change is None:
            return flat
        return augment_sound(flat, frame_seeds(seeds, mels.shape[1]), change)

    @override
    def forward(self, batch: LipWindows) -> StepResult:
        """L_a2v and L_v2a."""
        features, settings = self.features(batch), self.settings
        if settings.negatives_from_batch:
            return self._all_against_all(features, batch.moments)
        f_v, f_a = features.video[:, 0], features.audio[:, 0]
        f_v_negative, f_a_negative = features.video[:, 1:], features.audio[:, 1:]
        temperature = settings.temperature
        return StepResult(
            {
                "audio_to_video": audio_to_video_loss(f_a, f_v, f_v_negative, temperature=temperature),
                "video_to_audio": video_to_audio_loss(f_v, f_a, f_a_negative, temperature=temperature),
            }
        )

    def _all_against_all(self, features: LipFeatures, moments: Tensor) -> StepResult:
        """L_a2v and L_v2a of all windows of the batch against each other."""
        f_v, f_a = (self.gather_rows(side.flatten(0, 1)) for side in (features.video, features.audio))
        near = are_near(self.gather_rows(moments.flatten(0, 1)), self.settings.windows.minimum_gap_frames)
        temperature = self.settings.temperature
        return StepResult(
            {
                "audio_to_video": in_batch_contrastive_loss(f_a, f_v, temperature=temperature, excluded=near),
                "video_to_audio": in_batch_contrastive_loss(f_v, f_a, temperature=temperature, excluded=near),
            }
        )


class LipStage(Stage[LipWindows]):
    """Stage 2, lip: trains the lip head and the audio encoder; starts from stage 1's trunk, frozen."""

    name = "stage2_lip"
    version = "1"
    settings_type = LipStageSettings

    def __init__(self, context: StageContext, settings: LipStageSettings) -> None:
        self.settings = settings
        self.model = self.lip_model = LipModel(context, settings)
        self.loss_weights = {
            "audio_to_video": settings.audio_to_video_weight,
            "video_to_audio": settings.video_to_audio_weight,
        }
        self.optimizer = settings.optimizer
        self._features: dict[str, FrameFeatures] = {}
        self.saved = {"motion.to_mouth": self.lip_model.to_mouth, "audio.model": self.lip_model.audio}

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        if self.settings.cache_features:
            motion = self.lip_model.motion_feature
            self._features = compute_stage_features(
                indexes, motion.trunk.network, motion.side_px, settings.workers
            )

    @override
    def source(self, index: ClipIndex) -> LipWindowSource:
        """One window per clip, with its negatives."""
        settings = self.settings
        windows = settings.windows if index.split == "train" else settings.measured_windows
        return LipWindowSource(index, windows, self._features.get(index.split))

    @override
    def held_out(self, batches: Iterable[LipWindows]) -> list[HeldOutMetric]:
        """Top-1 retrieval between sound and lips among 1 + K windows, and among those of the same clip.

        K is that of the source; other rows of the batch are not used. Negatives of the same clip are harder:
        the speaker is the same.

        Raises:
            ValueError: no row counts.
        """
        results: dict[tuple[str, bool], list[tuple[bool, float]]] = {}
        for batch in batches:
            features, rows = self.lip_model.features(batch), real_rows(batch)
            directions = {
                "sound to lips": (features.audio[:, 0], features.video),
                "lips to sound": (features.video[:, 0], features.audio),
            }
            same_clip = batch.from_same_clip
            scopes = {"": torch.ones_like(same_clip), ", within the clip": same_clip}
            for (direction, (query, candidates)), (scope, negatives) in product(
                directions.items(), scopes.items()
            ):
                correct = retrieves_own(query, candidates, negatives).tolist()
                counts = negatives.sum(dim=1).tolist()
                results.setdefault((f"lip retrieval top-1, {direction}{scope}", not scope), []).extend(
                    (correct[row], 1 / (1 + counts[row])) for row in rows if counts[row]
                )
        if not any(results.values()):
            raise ValueError("the held-out batches have no real row")
        return [
            HeldOutMetric(
                name=name,
                value=sum(correct for correct, _ in pairs) / len(pairs),
                chance=sum(chance for _, chance in pairs) / len(pairs),
                higher_is_better=True,
                rows=len(pairs),
                decides=decides,
            )
            for (name, decides), pairs in results.items()
            if pairs
        ]


def retrieves_own(
    query: Float[Tensor, "B D"], candidates: Float[Tensor, "B C D"], negatives: Bool[Tensor, "B K"]
) -> Bool[Tensor, " B"]:
    """Whether a query is more similar to the first candidate than to every negative.

    A tie counts as wrong: encoders with constant output score 0, never chance or better.

    Args:
        query: [B, D].
        candidates: [B, 1 + K, D], the query's own first.
        negatives: which of the K are used.
    """
    # One product for all candidates: two products would round differently, with a systematic bias.
    similarity = cosine_similarity(query[:, None], candidates)
    rival = similarity[:, 1:].masked_fill(~negatives, -torch.inf).amax(dim=1)
    return similarity[:, 0] > rival + TIE


def are_near(moments: Int[Tensor, "M 2"], gap_frames: int) -> Bool[Tensor, "M M"]:
    """Which pairs of windows (clip, frame) are of one clip, less than the gap apart and not the same row.

    They look and sound alike, so neither is a negative of the other.
    """
    clips, frames = moments.unbind(dim=1)
    near = (clips[:, None] == clips) & ((frames[:, None] - frames).abs() < gap_frames)
    return near.fill_diagonal_(fill_value=False)


STAGE: Final = LipStage
