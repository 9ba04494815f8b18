"""A baseline without a generator: the portrait warped to the driving frame's landmarks, which are labels.

For the pairs of frames of stage 3's held-out metrics, a thin-plate spline through the landmarks of both
frames moves the portrait's pixels. No network is trained, and nothing that the portrait does not show can
appear. PSNR and SSIM beside those of copying the portrait; compare with the held-out metrics of stage 3.

    python -m benchmarks.training.warp_by_labels ROOT [--preset starter] [--rows 256]
"""

from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from benchmarks.measuring import show
from models.portrait_warp import warp_by_flow
from preprocessing.schema import CROP_SIDE_PX
from storage.root import open_root
from training.data.frames import to_network_input
from training.data.index import open_current
from training.data.loader import LoaderSettings, first_batches
from training.data.sources import ExpressionWindowSource
from training.jobs.config import PresetName
from training.jobs.plan import RUN_PRESETS
from training.stages.held_out_metrics import ReconstructionMetrics

EVERY: Final = 6
"""Every sixth of the 478 landmarks: a spline through all has hardly another flow, at 36 times the cost."""
BORDER: Final = np.array([[x, y] for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0) if x or y])
"""Points of the crop's border, which stay: without them a spline moves the background by any amount."""
SMOOTHING: Final = 1e-3


def spline_flow(driving: NDArray[np.float64], portrait: NDArray[np.float64], side_px: int) -> Tensor:
    """Flow [1, 2, S, S] in half sides that takes the portrait's points [N, 2] to the driving frame's.

    Both in -1 to 1 from edge to edge of the crop.
    """
    places = np.concatenate([driving, BORDER])
    moves = np.concatenate([portrait - driving, np.zeros_like(BORDER)])
    spline = RBFInterpolator(places, moves, kernel="thin_plate_spline", smoothing=SMOOTHING)
    axis = (np.arange(side_px) * 2 + 1) / side_px - 1
    x, y = np.meshgrid(axis, axis)
    flow = spline(np.stack([x.ravel(), y.ravel()], axis=1)).T.reshape(1, 2, side_px, side_px)
    return torch.from_numpy(flow).float()


def normalised(landmarks_px: Tensor) -> NDArray[np.float64]:
    """Landmarks [478, 3] px of a stored crop -> every sixth, [80, 2] in -1 to 1."""
    points = (landmarks_px[::EVERY, :2].double() * 2 + 1) / CROP_SIDE_PX - 1
    return points.numpy()


@click.command(help=__doc__)
@click.argument("root")
@click.option("--preset", default="starter", show_default=True, help="Whose side and pairs.")
@click.option("--rows", default=256, show_default=True)
def main(root: str, preset: PresetName, rows: int) -> None:
    """Warp the portraits and compare."""
    run = RUN_PRESETS[preset]
    side_px = run.network_preset.image_side_px
    windows = run.stage("stage3_expression").settings.windows
    source = ExpressionWindowSource(open_current(open_root(root), "validation"), windows)
    metrics = ReconstructionMetrics()
    for batch in first_batches(source, LoaderSettings(batch_size=8), rows):
        portrait, driving = (
            to_network_input(frames, side_px) for frames in (batch.appearance, batch.driving)
        )
        flow = [
            spline_flow(normalised(driven), normalised(given), side_px)
            for driven, given in zip(batch.landmarks_px, batch.appearance_landmarks_px, strict=True)
        ]
        metrics.add(warp_by_flow(portrait, torch.cat(flow)), driving, portrait)
    show(
        f"{rows} pairs of the validation split, {side_px} px",
        ["", "warped by labels", "copied"],
        [[metric.name, metric.value, metric.chance] for metric in metrics.metrics()],
    )


if __name__ == "__main__":
    main()
