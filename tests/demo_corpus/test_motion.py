import numpy as np
import pytest

from demo_corpus.motion import (
    GAZE_PITCH_LIMIT_RAD,
    GAZE_YAW_LIMIT_RAD,
    PITCH_LIMIT_RAD,
    ROLL_LIMIT_RAD,
    YAW_LIMIT_RAD,
    blinks,
    draw_motion,
    moods,
)
from demo_corpus.scene import draw_scene
from demo_corpus.speech import Voice


def test_motion_covers_its_limits() -> None:
    motion = draw_motion(np.random.default_rng(1), 200, long_shut=True)
    reach = np.abs(motion.angles_rad).max(axis=0) / [PITCH_LIMIT_RAD, YAW_LIMIT_RAD, ROLL_LIMIT_RAD]
    assert (reach <= 1).all()
    assert (reach >= 0.7).all()
    assert (np.abs(motion.gaze_rad) <= [GAZE_PITCH_LIMIT_RAD, GAZE_YAW_LIMIT_RAD]).all()
    for unit in (motion.blink, motion.smile, motion.brow_raise):
        assert unit.min() >= 0
        assert unit.max() <= 1


def test_slow_curves_are_uncorrelated() -> None:
    motion = draw_motion(np.random.default_rng(3), 200, long_shut=False)
    curves = np.column_stack([motion.angles_rad, motion.shift_cm])
    correlation = np.corrcoef(curves, rowvar=False) - np.eye(6)
    assert np.abs(correlation).max() < 1e-9


def test_moods_outlast_the_curves() -> None:
    motions = [draw_motion(np.random.default_rng(seed), 128, long_shut=False) for seed in range(200)]
    smiles = np.stack([motion.smile for motion in motions])
    clips = smiles.reshape(200, 2, 64).mean(axis=2)  # of 64 frames, as the data set's
    # Without moods a clip's mean deviates by .12, and both clips of a video mirror each other.
    assert clips.std() > 0.15
    assert -0.2 < np.corrcoef(clips.T)[0, 1] < 0.6
    levels = moods(np.random.default_rng(0), 500, 2)
    assert 0 <= levels.min() <= levels.max() <= 1
    held = np.diff(levels, axis=0) == 0
    assert held.mean() > 0.8


def test_factors_are_independent_over_a_corpus() -> None:
    voice = Voice(pitch_hz=120.0, tract=1.0)
    scenes = [draw_scene(seed, voice, 8.0) for seed in range(24)]
    factors = np.concatenate(
        [
            np.column_stack(
                [
                    scene.motion.angles_rad,
                    scene.motion.gaze_rad,
                    scene.motion.blink[:, 0],
                    scene.opening_cm,
                    scene.spread,
                    scene.motion.smile,
                    scene.motion.brow_raise,
                ]
            )
            for scene in scenes
        ]
    )
    correlation = np.corrcoef(factors, rowvar=False) - np.eye(factors.shape[1])
    assert np.abs(correlation).max() < 0.15


@pytest.mark.parametrize(("long_shut", "shortest", "longest"), [(False, 0, 6), (True, 20, 40)])
def test_long_blink_keeps_the_lids_closed(long_shut: bool, shortest: int, longest: int) -> None:
    shut = blinks(np.random.default_rng(0), 200, long_shut).min(axis=1) > 0.95
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    runs = edges[1::2] - edges[::2]
    assert shortest <= runs.max() <= longest
