"""The scorer `canonical` of clips: offsets and their sign, what is not scored."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from preprocessing.faces.shape.landmark_groups import CHIN, INNER_LIP_LOWER_MIDDLE, LIPS_OUTER
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.lip_sync.canonical import CanonicalScores, CanonicalSettings
from preprocessing.schema import Clip
from tests.factories.preprocessing.clips import random_clip

SCORER = CanonicalScores(CanonicalSettings())
LOWER = [*INNER_LIP_LOWER_MIDDLE, 88, 95, 318, 324, *LIPS_OUTER[11:], 18, 199, 200, CHIN]


def talking(late_frames: int, frames: int = 64) -> Clip:
    """A jaw that goes down at random, and noise whose strength follows it so many frames later."""
    rng = np.random.default_rng(0)
    opening = np.abs(gaussian_filter1d(rng.normal(size=frames + 60), 1.2))
    faces = np.repeat(20.0 * load_mean_face().vertices_cm[None] * [1, -1, -1], frames, axis=0)
    faces[:, LOWER, 1] += 30.0 * opening[30 : 30 + frames, None]
    strength = np.repeat(opening[30 - late_frames : 30 - late_frames + frames], 640)
    sound = np.clip(0.05 * strength * rng.normal(size=frames * 640), -1.0, 1.0).astype(np.float32)
    return replace(random_clip(frames), landmarks_px=faces.astype(np.float32), sound=sound, speech=None)


@pytest.mark.parametrize("late", [-9, 0, 7])
def test_late_sound_has_a_positive_offset(late: int) -> None:
    scores = SCORER.label(SCORER.prepare(talking(late)))
    assert abs(scores["offset_frames"] - late) <= 1.0
    assert scores["confidence"] > 0.1
    assert scores["correlation"] > 0.1


def test_silent_still_and_short_clips_are_not_scored() -> None:
    clip = talking(0)
    still = np.repeat(clip.landmarks_px[:1], 64, axis=0)
    for unusable in (
        replace(clip, sound=np.zeros_like(clip.sound)),
        replace(clip, landmarks_px=still),
        talking(0, frames=31),
    ):
        assert SCORER.label(unusable) == {}
