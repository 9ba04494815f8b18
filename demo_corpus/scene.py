"""One demo video: draw its motion and speech, render every frame, write its truth. For workers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo_corpus.camera import HEAD_REST_CM, Camera
from demo_corpus.expression import Controls, FaceRig
from demo_corpus.motion import NECK_PIVOT_CM, HeadMotion, draw_motion
from demo_corpus.render import Placement, render_frame
from demo_corpus.speech import (
    Voice,
    draw_syllables,
    mouth_at,
    synthesise,
)
from demo_corpus.topology import LOWER_INNER_LIP, LOWER_OUTER_LIP, UPPER_INNER_LIP
from demo_corpus.truth import POSE_COLUMNS, apparent_pose, write_truth
from preprocessing.faces.frame_of_reference import rotation_from_angles
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Scene:
    """Motion and sound of a video, T frames."""

    motion: HeadMotion
    opening_cm: NDArray[np.float64] = field(repr=False)  # [T] gap of the inner lips
    spread: NDArray[np.float64] = field(repr=False)  # [T]
    sound: NDArray[np.float32] = field(repr=False)  # [T / 25 * SAMPLE_RATE_HZ]

    def controls(self, frame: int) -> Controls:
        """The expression in a frame."""
        left, right = self.motion.blink[frame]
        return Controls(
            mouth_opening_cm=float(self.opening_cm[frame]),
            mouth_spread=float(self.spread[frame]),
            smile=float(self.motion.smile[frame]),
            brow_raise=float(self.motion.brow_raise[frame]),
            blink_left=float(left),
            blink_right=float(right),
        )

    def placement(self, frame: int) -> Placement:
        """The head's pose in a frame: rotated about the neck, then shifted."""
        rotation = rotation_from_angles(self.motion.angles_rad[frame])
        turned = NECK_PIVOT_CM - rotation @ NECK_PIVOT_CM
        return Placement(rotation, HEAD_REST_CM + turned + self.motion.shift_cm[frame])


def draw_scene(seed: int, voice: Voice, seconds: float) -> Scene:
    """A seeded scene; motion and speech have random generators of their own, independent of each other."""
    motion_rng, speech_rng, sound_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
    )
    times = np.arange(round(seconds * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
    motion = draw_motion(motion_rng, len(times), long_shut=bool(motion_rng.integers(2)))
    syllables = draw_syllables(speech_rng, seconds)
    opening, spread = mouth_at(syllables, times)
    sound = synthesise(sound_rng, voice, syllables, len(times) / FRAMES_PER_SECOND)
    return Scene(motion, opening, spread, sound)


def render_video(
    video: Path,
    truth: Path,
    rig: FaceRig,
    voice: Voice,
    *,
    seed: int,
    seconds: float,
    side_px: int,
    fingerprint: str,
) -> None:
    """Render a scene into `video`, then write its `truth` table, which marks both as complete."""
    scene = draw_scene(seed, voice, seconds)
    camera = Camera(side_px)
    write_video(video, render_scene(scene, rig, camera), FRAMES_PER_SECOND, scene.sound, SAMPLE_RATE_HZ)
    write_truth(truth, scene_truth(scene, rig), camera, fingerprint)


def render_scene(scene: Scene, rig: FaceRig, camera: Camera) -> Iterator[NDArray[np.uint8]]:
    """The scene's frames, [side, side, 3] RGB each."""
    for frame in range(len(scene.opening_cm)):
        gaze = scene.motion.gaze_rad[frame]
        yield render_frame(rig, scene.controls(frame), scene.placement(frame), gaze, camera)


def scene_truth(scene: Scene, rig: FaceRig) -> dict[str, NDArray[np.floating[Any]]]:
    """The truth table's columns, [T] each; lip distances are measured on the moved mesh."""
    frames = len(scene.opening_cm)
    poses = np.empty((frames, 6))
    lips = np.empty((frames, 2))
    for frame in range(frames):
        placement = scene.placement(frame)
        poses[frame] = apparent_pose(placement.rotation, placement.position_cm)
        vertices = rig.vertices_cm(scene.controls(frame))
        lips[frame, 0] = np.linalg.norm(vertices[UPPER_INNER_LIP[5]] - vertices[LOWER_INNER_LIP[5]])
        lips[frame, 1] = np.linalg.norm(vertices[LOWER_OUTER_LIP[0]] - vertices[LOWER_OUTER_LIP[-1]])
    return {
        "frame": np.arange(frames, dtype=np.float64),
        "time_seconds": np.arange(frames) / FRAMES_PER_SECOND,
        **{name: poses[:, column] for column, name in enumerate(POSE_COLUMNS)},
        "gaze_pitch_rad": scene.motion.gaze_rad[:, 0],
        "gaze_yaw_rad": scene.motion.gaze_rad[:, 1],
        "blink_left": scene.motion.blink[:, 0],
        "blink_right": scene.motion.blink[:, 1],
        "mouth_opening_cm": lips[:, 0],
        "mouth_width_cm": lips[:, 1],
        "mouth_spread": scene.spread,
        "smile": scene.motion.smile,
        "brow_raise": scene.motion.brow_raise,
    }
