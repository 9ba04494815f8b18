"""The released model's panels: what each panel shows, and the records of the videos."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.config import EvaluationConfig
from evaluation.metrics.control.matrix import ALL_PAIRS, control_follow
from evaluation.readings.face import FaceReader, FaceReadings
from evaluation.readings.official_panels import (
    official_folder,
    panel_files,
    panel_frames,
    read_official_video,
)
from evaluation.records import OFFICIAL_PUBLISHED
from evaluation.suites.control import ControlTable, measure_official
from preprocessing.media.encoding import write_video
from tests.factories.evaluation.readings import readings

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


def test_each_panel_is_read_as_what_it_shows(tmp_path: Path, reader_of_greys: FaceReader) -> None:
    steps = np.arange(FRAMES)
    up, wave = 40 + 4 * steps, 100 + (40 * np.sin(steps)).astype(int)
    generated = up + 5
    flat = np.full(FRAMES, 90)
    five_grey_panels(
        tmp_path / "official_panels_one.mp4", np.stack([flat, generated, up, flat, wave], axis=1)
    )
    video = read_official_video(tmp_path / "official_panels_one.mp4", reader_of_greys)
    assert video.name == "official_panels_one"
    assert set(video.drivers) == {"pose", "expression", "eye"}
    # H.264 moves a grey by one at most.
    np.testing.assert_allclose(video.output.measure("yaw"), generated, atol=1.5)
    np.testing.assert_allclose(video.drivers["pose"].measure("yaw"), up, atol=1.5)
    np.testing.assert_allclose(video.drivers["eye"].measure("yaw"), wave, atol=1.5)
    matrix = control_follow([video])
    leak = matrix.cell("eye", "yaw").pooled.correlation
    assert leak == pytest.approx(np.corrcoef(generated, wave)[0, 1], abs=0.02)
    assert matrix.cell("expression", "yaw").pooled.missing_because == "the driver's does not move"


def test_official_videos_get_records_of_their_own(tmp_path: Path, reader_of_greys: FaceReader) -> None:
    greys = 40 + 4 * np.arange(FRAMES)
    panels = np.stack([greys, greys + 5, greys, greys, greys], axis=1)
    five_grey_panels(tmp_path / "official_panels_one.mp4", panels)
    results = ControlTable()
    measure_official(results, tmp_path, reader_of_greys)
    by_metric = {record.metric: record for record in results.records}
    assert {record.method for record in results.records} == {OFFICIAL_PUBLISHED}
    assert {record.video for record in results.records} == {"official_panels_one", ALL_PAIRS}
    assert by_metric["yaw_correlation"].value == pytest.approx(1.0, abs=1e-3)
    assert by_metric["yaw_error"].value == pytest.approx(5.0, abs=1.0)
    assert by_metric["mouth_opening_correlation"].missing_because == "no lip driver"


def test_panel_files_reject_a_folder_without_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PDFGC_OFFICIAL_PANELS", raising=False)
    assert official_folder(EvaluationConfig()) is None
    assert panel_files(None) == []
    monkeypatch.setenv("PDFGC_OFFICIAL_PANELS", str(tmp_path))
    assert official_folder(EvaluationConfig()) == tmp_path
    with pytest.raises(ValueError, match="holds none of the released model's published panel videos"):
        panel_files(tmp_path)


def test_panel_frames_reject_a_video_without_five_panels(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    write_video(path, np.zeros((3, 64, 64, 3), np.uint8), 25, np.zeros(1920, np.float32))
    with pytest.raises(ValueError, match=r"frames are \[64, 64, 3\], need five panels of 224 px"):
        next(panel_frames(path, 0))
