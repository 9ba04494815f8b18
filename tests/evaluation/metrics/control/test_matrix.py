"""The control matrix on series with known results."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.controls import Control
from evaluation.metrics.control.matrix import (
    ALL_PAIRS,
    ControlPair,
    FollowedVideo,
    control_change,
    control_follow,
)
from evaluation.readings.face import MEASURES, FaceReadings
from evaluation.records import MODEL
from tests.factories.evaluation.readings import readings

TIMES = np.arange(40) / 40
WAVE = np.sin(2 * np.pi * TIMES)
OTHER = np.sin(4 * np.pi * TIMES)  # orthogonal to WAVE over the 40 frames


def test_change_correlates_with_the_drivers_difference() -> None:
    pair = ControlPair(
        base=readings(mouth=0.1 * OTHER),
        source=readings(mouth=0.4 + WAVE + OTHER),
        own=readings(mouth=OTHER),
        changed={"lip": readings(mouth=0.2 + 0.1 * OTHER + 0.5 * WAVE)},
        name="one",
    )
    cell = control_change([pair]).cell("lip", "mouth_opening")
    assert cell.pooled.correlation == pytest.approx(1.0, abs=1e-5)
    assert cell.pooled.gain == pytest.approx(0.5, abs=1e-5)
    pair_alone = cell.pairs["one"]  # the same frames, summed in another place of memory
    assert pair_alone.correlation == pytest.approx(cell.pooled.correlation, rel=1e-12)
    assert pair_alone.gain == pytest.approx(cell.pooled.gain, rel=1e-12)
    assert replace(pair_alone, correlation=None, gain=None) == replace(
        cell.pooled, correlation=None, gain=None
    )


def test_correlation_is_missing_if_the_video_does_not_move() -> None:
    still = readings(mouth=0.3)
    pair = ControlPair(still, readings(mouth=WAVE), still, {"lip": still}, "one")
    cell = control_change([pair]).cell("lip", "mouth_opening")
    assert cell.pooled.correlation is None
    assert cell.pooled.missing_because == "the video's does not move"


def test_score_counts_a_still_measure_as_not_followed() -> None:
    drivers: dict[Control, FaceReadings] = {"lip": readings(mouth=WAVE, smile=WAVE)}
    frozen = control_follow([FollowedVideo(readings(), drivers, "v")])
    assert frozen.cell("lip", "mouth_opening").pooled.correlation is None
    assert (frozen.follow, frozen.leak, frozen.score) == (0.0, 0.0, 0.0)


def test_score_is_missing_if_no_driver_moves() -> None:
    matrix = control_follow([FollowedVideo(readings(mouth=WAVE), {"lip": readings()}, "v")])
    assert (matrix.follow, matrix.leak, matrix.score) == (None, None, None)
    record = matrix.records("cross", MODEL)[-1]
    assert record.missing_because == "no cell on or off the diagonal has a correlation"


def test_a_still_pair_lowers_the_pooled_correlation() -> None:
    videos = [
        FollowedVideo(readings(mouth=WAVE), {"lip": readings(mouth=WAVE)}, "follows"),
        FollowedVideo(readings(), {"lip": readings(mouth=WAVE)}, "frozen"),
    ]
    cell = control_follow(videos).cell("lip", "mouth_opening")
    # Half the driver's power has no answer: 1 / sqrt(1 * 2), and half the gain.
    assert cell.pooled.correlation == pytest.approx(2**-0.5, abs=1e-5)
    assert cell.pooled.gain == pytest.approx(0.5, abs=1e-5)


def test_score_is_follow_minus_leak() -> None:
    drivers: dict[Control, FaceReadings] = {
        "lip": readings(mouth=WAVE, smile=OTHER),
        "pose": readings(mouth=-OTHER),
    }
    output = readings(mouth=3 * WAVE + 4 * OTHER, smile=OTHER)
    matrix = control_follow([FollowedVideo(output, drivers, "v")])
    # lip/mouth .6 is the only cell on the diagonal; off it lip/smile 1 and pose/mouth -.8.
    assert matrix.cell("lip", "mouth_opening").pooled.correlation == pytest.approx(0.6, abs=1e-5)
    assert matrix.follow == pytest.approx(0.6, abs=1e-5)
    assert matrix.leak == pytest.approx(0.9, abs=1e-5)
    assert matrix.score == pytest.approx(-0.3, abs=1e-5)


def test_pooling_removes_the_mean_of_each_pair() -> None:
    videos = [
        FollowedVideo(readings(mouth=5 + WAVE), {"lip": readings(mouth=WAVE)}, "high"),
        FollowedVideo(readings(mouth=WAVE), {"lip": readings(mouth=9 + WAVE)}, "low"),
    ]
    cell = control_follow(videos).cell("lip", "mouth_opening")
    assert cell.pooled.correlation == pytest.approx(1.0, abs=1e-5)
    assert cell.pooled.frames == 80


def test_records_hold_cells_and_scores() -> None:
    output = readings(mouth=3 * WAVE + 4 * OTHER, smile=OTHER)
    drivers: dict[Control, FaceReadings] = {
        "lip": readings(mouth=WAVE, smile=OTHER),
        "pose": readings(mouth=-OTHER),
    }
    records = control_follow([FollowedVideo(output, drivers, "v")]).records("cross", MODEL)
    assert len(records) == 2 * 2 * len(MEASURES) + 2
    by_metric = {record.metric: record for record in records}
    assert by_metric["control_follow_lip_mouth_opening"].value == pytest.approx(0.6, abs=1e-5)
    assert by_metric["control_follow_gain_lip_mouth_opening"].value == pytest.approx(3.0, abs=1e-5)
    assert by_metric["control_follow_score"].value == pytest.approx(-0.3, abs=1e-5)
    assert by_metric["control_follow_score"].video == ALL_PAIRS
    assert by_metric["control_follow_score_one_pair"].value == pytest.approx(-0.3, abs=1e-5)
    assert by_metric["control_follow_score_one_pair"].video == "v"
    assert by_metric["control_follow_lip_yaw"].missing_because == "the driver's does not move"
    assert by_metric["control_follow_pose_mouth_opening"].direction == "neither"


def test_matrices_reject_empty_input() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        control_change([])
    with pytest.raises(ValueError, match="at least one video"):
        control_follow([])


def mood_pair(name: str, own: float, source: float, gain: float) -> ControlPair:
    """The mean of the expression's driver changes, and the video's follows with a gain."""
    return ControlPair(
        base=readings(smile=0.3 + 0.1 * WAVE),
        source=readings(smile=source + WAVE),
        own=readings(smile=own + OTHER),
        changed={"expression": readings(smile=0.3 + gain * (source - own) + 0.1 * WAVE)},
        name=name,
    )


def test_means_of_a_slow_control_follow() -> None:
    moods = [(0.1, 0.9), (0.8, 0.2), (0.5, 0.7), (0.3, 0.4)]
    pairs = [mood_pair(f"p{number}", *pair, 0.5) for number, pair in enumerate(moods)]
    matrix = control_change(pairs)
    assert matrix.means["smile"].correlation == pytest.approx(1.0, abs=1e-5)
    assert matrix.means["smile"].gain == pytest.approx(0.5, abs=1e-5)
    # Frame by frame the video does not follow: its smile varies as in the base video.
    assert matrix.cell("expression", "smile").pooled.followed == 0.0
    by_metric = {record.metric: record for record in matrix.records("control", MODEL)}
    assert by_metric["control_change_of_means_gain_smile"].value == pytest.approx(0.5, abs=1e-5)
    assert by_metric["control_change_of_means_smile"].video == ALL_PAIRS
    assert control_change(pairs[:3]).means["smile"].missing_because == "read in 3 pairs, need 4"
