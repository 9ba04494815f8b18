"""Which directions of an eye code are gaze and which are blinks: a linear fit on labelled frames.

With standardised labels s (gaze pitch and yaw, blink left and right) a code is modelled as ``mean + s A +
noise``. To split a change of code, its labels are estimated by the linear estimator of least mean squared
error under this model, and mapped forward again: gaze labels give the gaze part, blink labels the blink part.
Without noise the estimator is A's pseudo-inverse and the split is exact. With noise it shrinks, and what it
cannot attribute remains in neither part; the pseudo-inverse would amplify directions of hardly any variance
(preset tiny_cpu's code is nearly one-dimensional, and gave parts 16 times its size).
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from training.data.batches import LabelledFrames

GAZE: Final = slice(0, 2)  # of the labels: pitch, yaw
BLINK: Final = slice(2, 4)  # image-left, image-right eye
LABELS: Final = 4
RIDGE: Final = 0.01
"""Ours: 1 % of a standardised label's variance, because the blinks of both eyes are nearly collinear."""
RANK_TOLERANCE: Final = 1e-5
"""Ours: directions of a code with a smaller share of the largest variance are float32 rounding."""
SMALLEST_DEVIATION: Final = 1e-6  # of a constant label: rad, or fraction of a blink


@dataclass(frozen=True)
class EyeShares:
    """Fractions of the codes' variance: explained by gaze, by blinks, and by neither.

    They need not sum to 1, because gaze and blinks correlate. Below 0: worse than the mean code.
    """

    gaze: float
    blink: float
    rest: float


class EyeAxes(nn.Module):
    """The fit, as buffers that are saved with the weights; zeros before `fit`.

    code_mean [D]; axes A [4, D], change of code per standard deviation of a label; label_mean and
    label_deviation [4], rad and fractions; label_correlation [4, 4]; residual_covariance [D, D]; frames [],
    number of frames.
    """

    def __init__(self, code_width: int = 6) -> None:
        super().__init__()
        self.code_mean = nn.Buffer(torch.zeros(code_width))
        self.axes = nn.Buffer(torch.zeros(LABELS, code_width))
        self.label_mean = nn.Buffer(torch.zeros(LABELS))
        self.label_deviation = nn.Buffer(torch.ones(LABELS))
        self.label_correlation = nn.Buffer(torch.eye(LABELS))
        self.residual_covariance = nn.Buffer(torch.zeros(code_width, code_width))
        self.frames = nn.Buffer(torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, codes: Tensor, labels: Tensor) -> None:
        """Fit codes [N, D] on labels [N, 4].

        Raises:
            ValueError: other shapes, or fewer than two frames.
        """
        if codes.shape != (len(labels), len(self.code_mean)) or labels.shape[1:] != (LABELS,):
            raise ValueError(
                f"need codes [N, {len(self.code_mean)}] and labels [N, {LABELS}], "
                f"got {list(codes.shape)} and {list(labels.shape)}"
            )
        if len(codes) < 2:
            raise ValueError(f"a linear fit needs at least 2 frames, got {len(codes)}")
        code, label = codes.double().cpu(), labels.double().cpu()
        mean, deviation = label.mean(dim=0), label.std(dim=0, correction=0).clamp_min(SMALLEST_DEVIATION)
        change, standard = code - code.mean(dim=0), (label - mean) / deviation
        correlation = standard.T @ standard / len(standard) + RIDGE * torch.eye(LABELS, dtype=torch.float64)
        axes = torch.linalg.solve(correlation, standard.T @ change / len(standard))
        residual = change - standard @ axes
        self.code_mean.copy_(code.mean(dim=0))
        self.axes.copy_(axes)
        self.label_mean.copy_(mean)
        self.label_deviation.copy_(deviation)
        self.label_correlation.copy_(correlation)
        self.residual_covariance.copy_(residual.T @ residual / len(residual))
        self.frames.fill_(len(code))

    def parts(self) -> tuple[Tensor, Tensor]:
        """Matrices [D, D] that map a change of code (a row vector) to its gaze part and to its blink part.

        Raises:
            ValueError: `fit` was not called.
        """
        if not int(self.frames):
            raise ValueError("the eye axes were never fitted: train stage2_eye to its end")
        axes, correlation = self.axes.double(), self.label_correlation.double()
        covariance = axes.T @ correlation @ axes + self.residual_covariance.double()
        estimator = torch.linalg.pinv(covariance, rtol=RANK_TOLERANCE, hermitian=True) @ axes.T @ correlation
        gaze, blink = (estimator[:, part] @ axes[part] for part in (GAZE, BLINK))
        return gaze.float(), blink.float()

    def shares(self, codes: Tensor, labels: Tensor) -> EyeShares:
        """What the labels [N, 4] explain of codes [N, D] under the fit."""
        standard = (labels - self.label_mean) / self.label_deviation
        total = codes.var(dim=0, correction=0).sum()

        def unexplained(part: slice) -> float:
            residual = (codes - standard[:, part] @ self.axes[part]).var(dim=0, correction=0).sum()
            return float(residual / total) if total > 0 else 1.0

        return EyeShares(1.0 - unexplained(GAZE), 1.0 - unexplained(BLINK), unexplained(slice(None)))


def eye_labels(batch: LabelledFrames) -> Tensor:
    """A batch's labels [B, 4] in the order of `GAZE` and `BLINK`."""
    return torch.cat([batch.gaze, batch.blink], dim=1)
