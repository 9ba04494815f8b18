"""Stage 2, lip: what the lips do and what is heard meet in one feature (PD-FGC).

Trains the lip head on stage 1's frozen motion feature, and the audio encoder up to the feature that the
lips' is compared with. The lip codes read from both features (`mouth_embed`) have no part in the losses:
stage 3 trains them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from models.audio import AudioEncoder
from storage.settings import Settings
from training.data.augmentation import MotionAugmentation
from training.data.batches import LipWindows
from training.data.index import ClipIndex
from training.data.lip_windows import LipWindowSettings, LipWindowSource
from training.engine.settings import OptimiserSettings
from training.losses.contrastive import FORMULA_TEMPERATURE, in_batch_contrastive_loss
from training.losses.distances import cosine_similarity
from training.losses.lip_contrastive import audio_to_video_loss, video_to_audio_loss
from training.stages.motion_feature import MotionFeature, motion_encoder_on_stage1
from training.stages.stage import Figure, Player, Stage, StageContext, StepResult, real_rows

TIE = 1e-6
"""Similarities that differ by less are alike. Ours: some ten times the rounding of a float32 cosine, so
that encoders which say the same of everything find nothing, whatever their last bits."""


class LipSettings(Settings):
    """How the lip stage trains.

    windows: K and the gap within a clip; unverified, see there.
    measured_windows: the same of the held-out figures, of every split but `train`. Apart from what trains,
        so that runs with another K keep the same chance and compare.
    temperature: τ. The formulas print none, which is 1.0; unverified whether training divided by less.
    audio_to_video_weight, video_to_audio_weight: of L_a2v and L_v2a. The paper names none; unverified.
    negatives_from_batch: every window of a process's batch, drawn as a negative or not, is a moment with
        its own sound, and all others are its negatives: B (1 + K) terms of B (1 + K) - 1 negatives for what
        B of K cost. The paper's formulas have K; unverified how they were drawn. Ours, off by default.
    augmentation: of the frames. The paper tells of it for stage 1's motion branch alone; unverified for
        stage 2. None: frames as they are.
    """

    windows: LipWindowSettings = LipWindowSettings()
    measured_windows: LipWindowSettings = LipWindowSettings()
    temperature: float = Field(default=FORMULA_TEMPERATURE, gt=0)
    audio_to_video_weight: float = Field(default=1.0, ge=0)
    video_to_audio_weight: float = Field(default=1.0, ge=0)
    negatives_from_batch: bool = False
    augmentation: MotionAugmentation | None = None
    optimiser: OptimiserSettings = OptimiserSettings()


@dataclass(frozen=True)
class LipFeatures:
    """Of every row the moment itself, then its K negatives: both [B, 1 + K, D]."""

    video: Tensor  # f_v = E_lip(E_mot(v))
    audio: Tensor  # f_a = E_aud(a)


class LipPlayer(Player):
    """Both encoders and the two losses."""

    def __init__(self, context: StageContext, settings: LipSettings) -> None:
        super().__init__()
        motion = motion_encoder_on_stage1(context)
        self.settings = settings
        self.motion_feature = MotionFeature(motion, settings.augmentation)
        self.to_mouth = motion.to_mouth
        self.audio = AudioEncoder(context.networks.audio).model

    def features(self, batch: LipWindows) -> LipFeatures:
        """Moments and negatives in one pass, so that batch normalisation cannot tell them apart."""
        frames = torch.cat([batch.frames[:, None], batch.negative_frames], dim=1)
        mels = torch.cat([batch.mels[:, None], batch.negative_mels], dim=1)
        video = self.to_mouth(self.motion_feature(frames, batch.facts).flatten(0, 1))
        audio = self.audio(mels.flatten(0, 1))
        return LipFeatures(*(side.unflatten(0, frames.shape[:2]) for side in (video, audio)))

    @override
    def forward(self, batch: LipWindows) -> StepResult:
        """L_a2v and L_v2a of a batch."""
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
        """L_a2v and L_v2a of every window [B, 1 + K], against all others of the batch."""
        f_v, f_a = features.video.flatten(0, 1), features.audio.flatten(0, 1)
        near = too_near(moments.flatten(0, 1), self.settings.windows.minimum_gap_frames)
        temperature = self.settings.temperature
        return StepResult(
            {
                "audio_to_video": in_batch_contrastive_loss(f_a, f_v, temperature=temperature, left_out=near),
                "video_to_audio": in_batch_contrastive_loss(f_v, f_a, temperature=temperature, left_out=near),
            }
        )


class LipStage(Stage[LipWindows]):
    """Stage 2, lip."""

    name = "stage2_lip"
    version = "1"
    settings_type = LipSettings

    def __init__(self, context: StageContext, settings: LipSettings) -> None:
        self.settings = settings
        self.player = LipPlayer(context, settings)
        self.model = self.player
        self.adversary = None
        self.loss_weights = {
            "audio_to_video": settings.audio_to_video_weight,
            "video_to_audio": settings.video_to_audio_weight,
        }
        self.optimiser = settings.optimiser
        self.adversary_optimiser = None
        self.saved = {"motion.to_mouth": self.player.to_mouth, "audio.model": self.player.audio}
        self.averaged = ()

    @override
    def source(self, index: ClipIndex) -> LipWindowSource:
        """A moment a clip, with its negatives."""
        settings = self.settings
        return LipWindowSource(
            index, settings.windows if index.split == "train" else settings.measured_windows
        )

    @override
    def held_out(self, batches: Iterable[LipWindows]) -> list[Figure]:
        """How often sound and lips find each other among 1 + K; and among the same clip's alone.

        K is the source's, the batch's other rows take no part. The same clip's are the harder ones: who
        speaks is the same, only the moment differs.

        Raises:
            ValueError: no row counts.
        """
        counts: dict[tuple[str, bool], list[tuple[bool, float]]] = {}
        for batch in batches:
            features, rows = self.player.features(batch), real_rows(batch)
            ways = {
                "sound to lips": (features.audio[:, 0], features.video),
                "lips to sound": (features.video[:, 0], features.audio),
            }
            same_clip = batch.from_same_clip
            scopes = {"": torch.ones_like(same_clip), ", within the clip": same_clip}
            for (way, (query, candidates)), (scope, negatives) in product(ways.items(), scopes.items()):
                found = finds_its_own(query, candidates, negatives).tolist()
                numbers = negatives.sum(dim=1).tolist()
                counts.setdefault((f"lip retrieval top-1, {way}{scope}", not scope), []).extend(
                    (found[row], 1 / (1 + numbers[row])) for row in rows if numbers[row]
                )
        if not any(counts.values()):
            raise ValueError("no row of the held-out batches counts")
        return [
            Figure(
                name=name,
                value=sum(found for found, _ in told) / len(told),
                chance=sum(chance for _, chance in told) / len(told),
                higher_is_better=True,
                rows=len(told),
                decides=decides,
            )
            for (name, decides), told in counts.items()
            if told
        ]


STAGE: Final = LipStage


def finds_its_own(
    query: Float[Tensor, "B D"], candidates: Float[Tensor, "B C D"], negatives: Bool[Tensor, "B K"]
) -> Bool[Tensor, " B"]:
    """Whether a query is more like the first candidate than like every negative that takes part.

    A tie is not found: encoders that say the same of everything score 0, never chance or better.

    Args:
        query: [B, D].
        candidates: [B, 1 + K, D], its own first.
        negatives: which of the K take part.
    """
    # All by one product: two would round differently, and always to the same side.
    similarity = cosine_similarity(query[:, None], candidates)
    rival = similarity[:, 1:].masked_fill(~negatives, -torch.inf).amax(dim=1)
    return similarity[:, 0] > rival + TIE


def too_near(moments: Int[Tensor, "M 2"], gap_frames: int) -> Bool[Tensor, "M M"]:
    """Which two moments, clip and frame, are of one clip and less than the gap apart, but not the same row.

    They sound and look alike: neither is a negative of the other.
    """
    clips, frames = moments.unbind(dim=1)
    near = (clips[:, None] == clips) & ((frames[:, None] - frames).abs() < gap_frames)
    return near.fill_diagonal_(fill_value=False)
