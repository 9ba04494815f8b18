"""Features of mouths and sounds, and the canonical components between them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from preprocessing.faces.shape.landmark_groups import INNER_LIP_LOWER_MIDDLE
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.lip_sync.mouth_sound import (
    MOUTH_FEATURES,
    SOUND_FEATURES,
    Example,
    correlation_by_shift,
    fit_projection,
    load_projection,
    mouth_features,
    sound_features,
)

FRAMES = 50
OPENING = np.abs(np.random.default_rng(3).normal(size=FRAMES))


def face(yaw_rad: float = 0.0, scale: float = 1.0) -> NDArray[np.float32]:
    """[50, 478, 3] the mean face, whose lower lip moves at random."""
    vertices = np.repeat(load_mean_face().vertices_cm[None], FRAMES, axis=0)
    vertices[:, list(INNER_LIP_LOWER_MIDDLE), 1] -= OPENING[:, None]
    turned = vertices @ rotation_from_angles(np.array([0.0, yaw_rad, 0.2])).T
    # Orthographic: the perspective of a turned head is no rotation.
    return (np.array([scale, -scale, -scale]) * 10.0 * turned).astype(np.float32)


def test_mouth_features_do_not_see_turn_size_or_mirror() -> None:
    reference = mouth_features(face())
    assert reference.shape == (FRAMES, MOUTH_FEATURES)
    assert np.abs(reference).max() > 0.05
    np.testing.assert_allclose(mouth_features(face(yaw_rad=0.4, scale=2.0)), reference, atol=1e-3)
    mirrored = face(yaw_rad=0.3)[:, load_mean_face().mirror] * np.array([-1.0, 1.0, 1.0], np.float32)
    np.testing.assert_allclose(mouth_features(mirrored), reference, atol=1e-3)


def test_sound_features_do_not_see_loudness() -> None:
    rng = np.random.default_rng(0)
    sound = (rng.normal(size=FRAMES * 640) * np.repeat(OPENING, 640) / 10).astype(np.float32)
    features = sound_features(sound)
    assert features.shape == (FRAMES, SOUND_FEATURES)
    np.testing.assert_allclose(sound_features(sound / 4), features, atol=1e-4)
    middle = features[:, SOUND_FEATURES // 3 : 2 * SOUND_FEATURES // 3].mean(axis=1)
    assert np.corrcoef(middle, OPENING)[0, 1] > 0.8


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_fit_finds_a_known_relation_and_its_shift(shift: int) -> None:
    """Sound = mouth, mixed and noisy; the sound of the tested example is late by `shift` frames."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 6))
    examples: list[Example] = []
    for person in ("a", "b"):
        mouth = rng.normal(size=(300, 4))
        examples.append(Example(person, mouth, mouth @ mixing + 0.1 * rng.normal(size=(300, 6))))
    projection = fit_projection(examples[:1], components=2, ridge=0.01)
    assert projection.correlations == pytest.approx([1.0, 1.0], abs=0.05)
    late = np.roll(examples[1].sound, shift, axis=0)
    curve = correlation_by_shift(examples[1].mouth, late, 5, projection)
    assert int(curve.argmax()) - 5 == shift
    assert curve.max() > 0.9
    assert np.median(curve) < 0.2


def test_people_have_the_same_weight_whatever_their_length() -> None:
    rng = np.random.default_rng(0)
    short, long = (Example(name, rng.normal(size=(count, 2)), rng.normal(size=(count, 2)))
                   for name, count in (("a", 20), ("b", 40)))  # fmt: skip
    twice = [short, Example("a", short.mouth, short.sound), long]
    once = fit_projection([short, long], components=2)
    np.testing.assert_allclose(fit_projection(twice, components=2).correlations, once.correlations, rtol=0.05)


def test_committed_projection_fits_the_features() -> None:
    projection = load_projection()
    components = len(projection.correlations)
    assert projection.mouth.shape == (MOUTH_FEATURES, components)
    assert projection.sound.shape == (SOUND_FEATURES, components)
    assert (np.diff(projection.correlations) <= 0).all()


def test_opening_lips_go_with_sound_that_grows_louder() -> None:
    rng = np.random.default_rng(1)
    pink = np.cumsum(rng.normal(size=FRAMES * 640)) * 0.05 + rng.normal(size=FRAMES * 640)
    sound = (pink * np.repeat(np.convolve(OPENING, [0.25, 0.5, 0.25], "same"), 640) / 50).astype(np.float32)
    projection = load_projection()
    curve = correlation_by_shift(mouth_features(face()), sound_features(sound), 4, projection)
    assert int(curve.argmax()) - 4 in (-1, 0, 1)


def test_still_mouth_has_no_correlation() -> None:
    still = np.repeat(face()[:1], FRAMES, axis=0)
    sound = sound_features(np.random.default_rng(0).normal(size=FRAMES * 640).astype(np.float32) / 10)
    assert correlation_by_shift(mouth_features(still), sound, 1, load_projection()) == pytest.approx(
        0.0, abs=1e-3
    )


def test_landmarks_of_another_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"landmarks are \[50, 468, 3\]"):
        mouth_features(face()[:, :468])


ANY_CLIP = """
import numpy as np
from preprocessing.labellers.lip_sync import mouth_sound as m
rng = np.random.default_rng(0)
landmarks_px = (100 + 5 * rng.normal(size=(64, 478, 3))).astype(np.float32)
seen = m.mouth_features(landmarks_px)
heard = m.sound_features(rng.normal(size=64 * 640).astype(np.float32))
print(m.correlation_by_shift(seen, heard, 8, m.load_projection()).tobytes().hex())
"""


def test_scores_do_not_depend_on_the_number_of_threads() -> None:
    scores = {
        subprocess.run(
            [sys.executable, "-c", ANY_CLIP],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(scores) == 1
