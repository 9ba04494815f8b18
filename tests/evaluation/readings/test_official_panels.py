"""The released model's panels: which panel is what, and the row that comes of them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.control.control_matrix import ALL_PAIRS
from evaluation.readings.face import FaceReader, FaceReadings
from evaluation.readings.official_panels import official_figures, panel_frames
from evaluation.records import OFFICIAL_PUBLISHED
from preprocessing.media.encoding import write_video
from tests.factories.readings import readings

FRAMES = 20
Picture = NDArray[np.uint8]


def five_grey_panels(path: Path, greys: NDArray[np.int64]) -> Path:
    """A video whose panel p shows grey greys[t, p] in frame t."""
    frames = (
        np.repeat(np.repeat(grey.astype(np.uint8), 224)[None, :, None], 224, axis=0).repeat(3, axis=2)
        for grey in greys
    )
    write_video(path, frames, 25, np.zeros(640 * len(greys), np.float32))
    return path


@pytest.fixture
def reader_of_greys(monkeypatch: pytest.MonkeyPatch) -> FaceReader:
    """A reader for which a panel's mean grey is its yaw."""

    def nothing(_: FaceReader) -> None:
        return None

    def read(_: FaceReader, frames: Iterable[Picture]) -> FaceReadings:
        greys = np.array([frame.mean() for frame in frames])
        angles = np.stack([np.zeros_like(greys), greys, np.zeros_like(greys)], axis=1)
        return readings(len(greys), angles_degrees=angles)

    monkeypatch.setattr(FaceReader, "__init__", nothing)
    monkeypatch.setattr(FaceReader, "read", read)
    return FaceReader()


def test_the_generated_panel_is_held_against_each_drivers(
    tmp_path: Path, reader_of_greys: FaceReader
) -> None:
    steps = np.arange(FRAMES)
    up, wave = 40 + 4 * steps, 100 + (40 * np.sin(steps)).astype(int)
    generated = up + 5
    flat = np.full(FRAMES, 90)
    five_grey_panels(
        tmp_path / "official_panels_one.mp4", np.stack([flat, generated, up, flat, wave], axis=1)
    )
    figures = official_figures(tmp_path, reader_of_greys)
    assert figures.matrix is not None
    following = {row.metric: row for row in figures.rows}
    assert {row.method for row in figures.rows} == {OFFICIAL_PUBLISHED}
    assert {row.video for row in figures.rows} == {"official_panels_one", ALL_PAIRS}
    assert following["yaw_correlation"].value == pytest.approx(1.0, abs=1e-3)
    assert following["yaw_error"].value == pytest.approx(5.0, abs=1.0)  # H.264 moves a grey by one at most
    assert following["mouth_opening_correlation"].missing_because == "no lip driver"
    leak = figures.matrix.cell("eye", "yaw").pooled.correlation
    assert leak == pytest.approx(np.corrcoef(generated, wave)[0, 1], abs=0.02)
    assert figures.matrix.cell("expression", "yaw").pooled.missing_because == "the driver's does not move"


def test_no_folder_is_told_not_raised(tmp_path: Path, reader_of_greys: FaceReader) -> None:
    assert official_figures(None, reader_of_greys).skipped_because.startswith("no folder given")
    empty = official_figures(tmp_path, reader_of_greys)
    assert empty.rows == ()
    assert empty.skipped_because.startswith("none of official_panels_*.mp4")


def test_a_video_without_five_panels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    write_video(path, np.zeros((3, 64, 64, 3), np.uint8), 25, np.zeros(1920, np.float32))
    with pytest.raises(ValueError, match=r"frames are \[64, 64, 3\], need five panels of 224 px"):
        next(panel_frames(path, 0))
