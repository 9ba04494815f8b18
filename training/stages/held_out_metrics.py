"""Held-out metrics of the stages that generate images: reconstruction, and leakage of speech."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from training.engine.progress import HeldOutMetric
from training.losses.codes.decorrelation import standardised

_DATA_RANGE: Final = 2.0  # of images in [-1, 1]
_SHIFTS: Final = 8
"""Shifts by which audio rows are permuted for the chance level. Held-out rows go through the clips in turn,
so shifted audio is of another clip."""


@dataclass
class ReconstructionMetrics:
    """PSNR (dB) and SSIM of each generated frame, as in torchmetrics (SSIM: Gaussian 11 x 11, sigma 1.5).

    The chance level is that of copying the appearance frame.
    """

    _values: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, generated: Tensor, driving: Tensor, appearance: Tensor) -> None:
        """Add images [B, 3, S, S] in [-1, 1]."""
        # Imported here: with SciPy and Matplotlib it takes two seconds in every process that trains.
        from torchmetrics.functional.image import (
            peak_signal_noise_ratio,
            structural_similarity_index_measure,
        )

        for name, images in (("generated", generated), ("copied", appearance)):
            psnr = peak_signal_noise_ratio(
                images, driving, data_range=_DATA_RANGE, reduction="none", dim=(1, 2, 3)
            )
            ssim = structural_similarity_index_measure(
                images, driving, data_range=_DATA_RANGE, reduction="none"
            )
            assert isinstance(ssim, Tensor)
            self._values.setdefault(f"psnr {name}", []).append(psnr.cpu())
            self._values.setdefault(f"ssim {name}", []).append(ssim.cpu())

    def metrics(self) -> list[HeldOutMetric]:
        """Means over all images."""
        means = {name: float(torch.cat(values).mean()) for name, values in self._values.items()}
        rows = len(torch.cat(self._values["psnr generated"]))
        return [
            HeldOutMetric(
                "PSNR",
                means["psnr generated"],
                means["psnr copied"],
                higher_is_better=True,
                unit=" dB",
                rows=rows,
            ),
            HeldOutMetric(
                "SSIM", means["ssim generated"], means["ssim copied"], higher_is_better=True, rows=rows
            ),
        ]


@dataclass
class CorrelationMetric:
    """Root mean square of Pearson's r over all pairs of an expression and an audio dimension.

    The chance level is the same with the audio rows permuted: what unrelated expressions and audio reach on
    these clips. 1 / sqrt(N − 1) would hold for independent rows, which many rows of few people are not.
    """

    _expression: list[Tensor] = field(default_factory=list)
    _audio: list[Tensor] = field(default_factory=list)

    def add(self, expression: Tensor, audio: Tensor) -> None:
        """Add rows of F̄_e [B, E] and F_a [B, A]."""
        self._expression.append(expression.float().cpu())
        self._audio.append(audio.float().cpu())

    def metric(self) -> HeldOutMetric:
        """The metric over all rows; without a chance level where there is one row."""
        z_e, z_a = standardised(torch.cat(self._expression)), standardised(torch.cat(self._audio))
        shifts = range(1, min(_SHIFTS, len(z_e) - 1) + 1)
        permuted = [_root_mean_square(z_e, z_a.roll(shift, dims=0)) for shift in shifts]
        return HeldOutMetric(
            name="expression-audio correlation",
            value=_root_mean_square(z_e, z_a),
            chance=sum(permuted) / len(permuted) if permuted else None,
            higher_is_better=False,
            rows=len(z_e),
            decides=False,
        )


@dataclass
class YawLeakage:
    """How far the expression code turns the head, against the pose code.

    The gain is the slope of the generated head's turn over the turn of the row whose code was taken: 1 of the
    expression for 1 of the pose would mean that both codes carry the head's pose alike.
    """

    _turns: list[Tensor] = field(default_factory=list)
    _by_pose: list[Tensor] = field(default_factory=list)
    _by_expression: list[Tensor] = field(default_factory=list)

    def add(self, turns: Tensor, by_pose: Tensor, by_expression: Tensor) -> None:
        """Add rows [B]: difference of the pose codes' yaw, and the turn that each code alone causes."""
        self._turns.append(turns.double().cpu())
        self._by_pose.append(by_pose.double().cpu())
        self._by_expression.append(by_expression.double().cpu())

    def metrics(self) -> list[HeldOutMetric]:
        """The expression's gain as a share of the pose's; none where no row was added."""
        if not self._turns:
            return []
        turns = torch.cat(self._turns)
        pose, expression = (
            float((turns * torch.cat(response)).sum() / turns.square().sum().clamp_min(1e-12))
            for response in (self._by_pose, self._by_expression)
        )
        return [
            HeldOutMetric(
                name="yaw gain of expression over pose",
                value=abs(expression) / max(abs(pose), 1e-12),
                chance=1.0,
                higher_is_better=False,
                rows=len(turns),
                decides=False,
            )
        ]


@dataclass
class ControlFollowing:
    """Pearson's r, and the slope, of each reading of pictures driven by several clips over its driver's.

    Rows are of different people, so a reading's offset between people lowers r.
    """

    _generated: list[Tensor] = field(default_factory=list)
    _drivers: list[Tensor] = field(default_factory=list)

    def add(self, generated: Mapping[str, Tensor], drivers: Mapping[str, Tensor]) -> None:
        """Add readings of `training.stages.codes.control_readings`, [B, D] each."""
        self._generated.append(_followed_columns(generated))
        self._drivers.append(_followed_columns(drivers))

    def metrics(self) -> list[HeldOutMetric]:
        """Correlation and gain of each column; none where no row was added."""
        if not self._generated:
            return []
        generated, drivers = torch.cat(self._generated), torch.cat(self._drivers)
        correlation = (standardised(generated) * standardised(drivers)).sum(dim=0)
        deviation = drivers.std(dim=0, correction=0).clamp_min(1e-12)
        gain = correlation * generated.std(dim=0, correction=0) / deviation
        return [
            HeldOutMetric(
                f"{name} {what}", value, chance, higher_is_better=True, rows=len(generated), decides=False
            )
            for name, *values in zip(FOLLOWED, correlation.tolist(), gain.tolist(), strict=True)
            for what, value, chance in zip(("r", "gain"), values, (0.0, None), strict=True)
        ]


FOLLOWED: Final = ("pitch", "yaw", "roll", "mouth", "gaze sideways", "gaze up and down", "lids")


def _followed_columns(readings: Mapping[str, Tensor]) -> Tensor:
    """[B, 7] in the order of `FOLLOWED`, the means of both eyes."""
    gaze = readings["gaze"].unflatten(1, (2, 2)).mean(dim=1)
    lids = readings["lids"].mean(dim=1, keepdim=True)
    return torch.cat([readings["pose"], readings["mouth"], gaze, lids], dim=1).double().cpu()


def _root_mean_square(z_e: Tensor, z_a: Tensor) -> float:
    return float((z_e.T @ z_a).square().mean().sqrt())
