"""Stage 3: expression and the final generator.

Trains E_exp (the expression head on the frozen unified motion feature), the layer that reads the lip code
from a lip or audio feature, the generator G and its discriminator. Frozen: E_app, E_mot's trunk, the lip, eye
and pose heads, E_aud's trunk. G reconstructs the driving frame from appearance | lip (of the audio) |
expression (mean over the window) | eye | pose, so the expression code learns what the other codes do not
carry.
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn
from typing_extensions import override

from models.style_vector import StyleVector
from preprocessing.schema import LANDMARK_COUNT
from training.data.batches import ExpressionWindows
from training.data.frame_features import FrameFeatures, compute_stage_features
from training.data.index import ClipIndex
from training.data.loader import LoaderSettings, first_batches
from training.data.shard_reader import ReaderSettings, ShardReader
from training.data.sources import ExpressionWindowSource
from training.engine.progress import HeldOutMetric
from training.stages.codes.code_scale import CODE_SCALE_PART
from training.stages.expression_model import ExpressionModel, ExpressionStageSettings
from training.stages.held_out_metrics import (
    ControlFollowing,
    CorrelationMetric,
    ReconstructionMetrics,
    YawLeakage,
)
from training.stages.mixed_rows import EncodedRows
from training.stages.pictures.adversary import Adversary
from training.stages.pictures.composite_landmarks import aligned
from training.stages.pictures.flow_fit import EXPRESSION_CODE, ExpressionFit, fit_flow, flow_rows
from training.stages.pictures.generator import (
    start_from_motion_feature,
)
from training.stages.pictures.perceptual_networks import PerceptualFeatures
from training.stages.stage import (
    Stage,
    StageContext,
    real_rows,
)

MEASURED_FRAMES: Final = 1024
"""Frames on which the codes' scales, and their relation to the motion feature, are measured; ours."""

logger = logging.getLogger(__name__)


class ExpressionStage(Stage[ExpressionWindows]):
    """Stage 3: trains the expression head, the lip code, G and D; starts from all earlier stages."""

    name = "stage3_expression"
    version = "3"
    settings_type = ExpressionStageSettings
    sample_columns = ("portrait", "driver", "generated")

    def __init__(self, context: StageContext, settings: ExpressionStageSettings) -> None:
        self.settings = settings
        self._widths, self._first = context.networks.style_widths, context.parents["stage1_motion"]
        adversary = Adversary(context.networks.discriminator, settings.adversary)
        self.model = self._model = ExpressionModel(context, settings, adversary)
        self.adversary = adversary if settings.weights.use_adversary else None
        self.loss_weights = vars(settings.weights) | settings.adversary.weights()
        self.optimizer = settings.optimizer
        self.adversary_optimizer = settings.adversary_optimizer
        saved: dict[str, nn.Module] = {
            "motion.to_emo": self._model.expression_head,
            "motion.emo_embed": self._model.expression_code,
            "lip_code": self._model.lip_code,
            "generator": self._model.generator,
            CODE_SCALE_PART: self._model.code_scale,
        }
        if self.adversary is not None:
            saved["discriminator"] = self.adversary.network
        self.saved = saved
        self._features: dict[str, FrameFeatures] = {}
        self.averaged = ("motion.to_emo", "motion.emo_embed", "lip_code", "generator")

    @override
    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        """Cache the trunk's features, and measure the codes' scales on training frames."""
        model = self._model
        if self.settings.cache_features:
            self._features = compute_stage_features(
                indexes, model.encoders.trunk.network, model.motion_side_px, settings.workers
            )
        fits_flow = self.settings.flow_fit.steps and model.generator.config.appearance_path == "warp"
        if self.settings.measure_codes or fits_flow:
            self._start_generator(indexes[0], settings)

    def _start_generator(self, index: ClipIndex, settings: LoaderSettings) -> None:
        """Measure the codes; set the columns that read them; fit the flow to landmarks."""
        model = self._model
        device = next(model.parameters()).device
        keys, frames = list[str](), list[int]()
        styles, numbers = list[dict[str, Tensor]](), list[tuple[Tensor, ...]]()
        labels = list[Tensor]()
        for batch in first_batches(self.source(index), settings, MEASURED_FRAMES):
            moved = batch.to(device)
            rows = model.encode(moved)
            # Without their images, which take a gigabyte at 224 px.
            keys += batch.facts.keys
            frames += batch.facts.frames
            styles.append(rows.style.codes())
            landmarks_px = moved.appearance_landmarks_px, moved.landmarks_px
            windows = model.window_features(moved, augmented=False)
            numbers.append((rows.portrait.motion_feature, rows.feature, windows, *landmarks_px))
            labels += [] if moved.expression_labels is None else [moved.expression_labels]
        own, features, windows, appearance_px, driving_px = (
            torch.cat(part) for part in zip(*numbers, strict=True)
        )
        vectors = StyleVector(**{name: torch.cat([codes[name] for codes in styles]) for name in styles[0]})
        if self.settings.measure_codes:
            model.code_scale.measure(vectors, self.settings.code_shares)  # they were 1
            vectors = model.code_scale(vectors)
            logger.info("Measured code scales: %s", model.code_scale.line())
            if self.settings.start_from_stage1 and self.settings.start_from_motion_feature:
                codes = vectors.to_vector()[:, self._widths.appearance :]
                expression = slice(self._widths.lip, self._widths.lip + self._widths.expression)
                start_from_motion_feature(model.generator, self._first, codes, features, expression)
        if model.generator.config.appearance_path == "warp":
            motion = {name: code for name, code in vectors.codes().items() if name != "appearance"}
            portraits = torch.cat([own, features])
            fit_flow(
                model.generator.coarse_flow,
                flow_rows(index, keys, (appearance_px, driving_px), motion, portraits),
                self.settings.flow_fit,
                self._expression_fit(index, (keys, frames), windows, torch.cat(labels) if labels else None)
                if self.settings.flow_fit.expression
                else None,
            )

    def _expression_fit(
        self,
        index: ClipIndex,
        places: tuple[Sequence[str], Sequence[int]],
        windows: Tensor,
        labels_cm: Tensor | None,
    ) -> ExpressionFit:
        """The expression head with windows [N, K, D] around the frames of `places`: clips and numbers."""
        model, source = self._model, ExpressionWindowSource(index, self.settings.windows)
        head = nn.ModuleList([model.expression_head, model.expression_code])
        factor = model.code_scale.factor(EXPRESSION_CODE)
        return ExpressionFit(
            lambda features: factor * model.frame_expressions(features),
            head,
            windows,
            window_means_px(source, *places).to(windows),
            labels_cm,
        )

    @override
    def source(self, index: ClipIndex) -> ExpressionWindowSource:
        labelled = bool(self.settings.weights.expression_readout)
        return ExpressionWindowSource(
            index, self.settings.windows, self._features.get(index.split), labelled=labelled
        )

    @override
    def held_out(self, batches: Iterable[ExpressionWindows]) -> list[HeldOutMetric]:
        """PSNR and SSIM against copying the appearance frame; speech and yaw in the expression code."""
        reconstruction, correlation, leakage = ReconstructionMetrics(), CorrelationMetric(), YawLeakage()
        following = ControlFollowing()
        for batch in batches:
            rows = self._model.encode(batch).select(real_rows(batch))
            generated = self._model.generate(rows).image.float()
            reconstruction.add(generated, rows.driving, rows.portrait.image)
            correlation.add(rows.expression, rows.audio_feature)
            self._add_leakage(leakage, rows)
            if self._model.mixed.controls is not None:
                mixed = self._model.mixed.mix(rows, len(rows.driving))
                image = self._model.generate(mixed.rows).image.float()
                following.add(*self._model.mixed.readings(mixed, image, rows))
        return [
            *reconstruction.metrics(),
            correlation.metric(),
            *leakage.metrics(),
            *following.metrics(),
        ]

    def _add_leakage(self, leakage: YawLeakage, rows: EncodedRows) -> None:
        """Turn of the head where each row takes the pose, or the expression, of the row before it."""
        model = self._model
        perceptual = model.picture_losses.perceptual
        if perceptual is None or len(rows.driving) < 2:
            return
        style = rows.style

        def yaw(**codes: Tensor) -> Tensor:
            changed = dataclasses.replace(rows, style=dataclasses.replace(style, **codes))
            features: PerceptualFeatures = perceptual(model.generate(changed).image.float())
            return features.yaw

        own = yaw()
        leakage.add(
            style.pose[:, 1].roll(1) - style.pose[:, 1],
            yaw(pose=style.pose.roll(1, dims=0)) - own,
            yaw(expression=style.expression.roll(1, dims=0)) - own,
        )

    @override
    def sample_grid(self, batch: ExpressionWindows) -> Tensor:
        """The columns are `sample_columns`."""
        rows = self._model.encode(batch)
        generated = self._model.generate(rows).image.float()
        return torch.stack([rows.portrait.image, rows.driving, generated], dim=1)

    @override
    def rank_state(self) -> dict[str, Tensor]:
        banks = {"expression": self._model.expression_bank, "audio": self._model.audio_bank}
        return {
            f"{name}.{key}": value for name, bank in banks.items() for key, value in bank.state_dict().items()
        }

    @override
    def load_rank_state(self, state: Mapping[str, Tensor]) -> None:
        for name, bank in (("expression", self._model.expression_bank), ("audio", self._model.audio_bank)):
            prefix = f"{name}."
            bank.load_state_dict(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )

    @override
    def to(self, device: torch.device) -> None:
        super().to(device)
        self._model.move_banks(device)


def window_means_px(source: ExpressionWindowSource, keys: Sequence[str], frames: Sequence[int]) -> Tensor:
    """Mean landmarks [N, 478, 3] over the window's span around each frame, aligned to that frame."""
    index, reader = source.index, ShardReader(source.index, ReaderSettings())
    clips = pc.call_function("index_in", [pa.array(keys)], pc.SetLookupOptions(index.key_column)).to_pylist()
    means = list[Tensor]()
    for clip, frame in zip(clips, frames, strict=True):
        first, span = source.window_span(clip, frame)
        shape = (source.frame_count(clip), LANDMARK_COUNT, 3)
        window = torch.from_numpy(reader.rows(clip, "landmarks.npy", shape, first, first + span).copy())
        own = window[frame - first].expand_as(window)
        means.append(aligned(window, own).mean(dim=0))
    return torch.stack(means)


STAGE: Final = ExpressionStage
