"""Which directions of an eye code are gaze and which are blinks: a straight line through labelled frames.

With standardised labels s (gaze pitch and yaw, blink left and right) a code is ``mean + s A + noise``. What
of a change of code is gaze follows by the way back: the labels that the change tells of, as the linear
estimate of least error under that very model, and then the change that such gaze makes. Without noise the
way back is A's pseudo-inverse, and gaze and blinks come apart without loss. With noise it tells of less,
and what cannot be told stays with the rest: the pseudo-inverse would blow up a direction that is hardly
there (the tiny preset's code is nearly one number, and parts 16 times as large as it came of it).
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
"""Ours: a hundredth of a standardised label's variance. Both eyes' blinks are nearly one label."""
RANK_TOLERANCE: Final = 1e-5
"""Ours: directions of a code with so small a share of the largest variance are rounding of float32."""
SMALLEST_DEVIATION: Final = 1e-6  # of a label that does not vary, rad or share of a blink


@dataclass(frozen=True)
class EyeShares:
    """Shares of the variance of codes: what each kind of label explains, and what neither does.

    They need not sum to 1, as gaze and blinks come together. Below 0: worse than the mean code.
    """

    gaze: float
    blink: float
    rest: float


class EyeAxes(nn.Module):
    """What a fit says, as buffers, so that it travels with the weights; zeros before `fit`.

    code_mean [D]; axes A [4, D], code for a deviation of a label; label_mean and label_deviation [4], rad
    and shares; label_correlation [4, 4] and residual_covariance [D, D]; frames [], how many were looked at.
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
        """Take over the fit of codes [N, D] on labels [N, 4].

        Raises:
            ValueError: shapes are others, or fewer than two frames.
        """
        if codes.shape != (len(labels), len(self.code_mean)) or labels.shape[1:] != (LABELS,):
            raise ValueError(
                f"need codes [N, {len(self.code_mean)}] and labels [N, {LABELS}], "
                f"got {list(codes.shape)} and {list(labels.shape)}"
            )
        if len(codes) < 2:
            raise ValueError(f"a line needs at least 2 frames, got {len(codes)}")
        code, label = codes.double().cpu(), labels.double().cpu()
        mean, deviation = label.mean(dim=0), label.std(dim=0, correction=0).clamp_min(SMALLEST_DEVIATION)
        change, told = code - code.mean(dim=0), (label - mean) / deviation
        correlation = told.T @ told / len(told) + RIDGE * torch.eye(LABELS, dtype=torch.float64)
        axes = torch.linalg.solve(correlation, told.T @ change / len(told))
        residual = change - told @ axes
        self.code_mean.copy_(code.mean(dim=0))
        self.axes.copy_(axes)
        self.label_mean.copy_(mean)
        self.label_deviation.copy_(deviation)
        self.label_correlation.copy_(correlation)
        self.residual_covariance.copy_(residual.T @ residual / len(residual))
        self.frames.fill_(len(code))

    def parts(self) -> tuple[Tensor, Tensor]:
        """Maps [D, D] of a change of code, a row, to the part of it that is gaze and that is blinks.

        Raises:
            ValueError: nothing was fitted.
        """
        if not int(self.frames):
            raise ValueError("which parts of the eye code are gaze and blinks was never measured")
        axes, correlation = self.axes.double(), self.label_correlation.double()
        covariance = axes.T @ correlation @ axes + self.residual_covariance.double()
        back = torch.linalg.pinv(covariance, rtol=RANK_TOLERANCE, hermitian=True) @ axes.T @ correlation
        gaze, blink = (back[:, part] @ axes[part] for part in (GAZE, BLINK))
        return gaze.float(), blink.float()

    def shares(self, codes: Tensor, labels: Tensor) -> EyeShares:
        """What the labels [N, 4] explain of codes [N, D], by the fit as it stands."""
        told = (labels - self.label_mean) / self.label_deviation
        total = codes.var(dim=0, correction=0).sum()

        def left(part: slice) -> float:
            rest = (codes - told[:, part] @ self.axes[part]).var(dim=0, correction=0).sum()
            return float(rest / total) if total > 0 else 1.0

        return EyeShares(1.0 - left(GAZE), 1.0 - left(BLINK), left(slice(None)))


def eye_labels(batch: LabelledFrames) -> Tensor:
    """A batch's labels [B, 4] in the order of `GAZE` and `BLINK`."""
    return torch.cat([batch.gaze, batch.blink], dim=1)
