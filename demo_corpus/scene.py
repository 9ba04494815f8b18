"""One demo video: draw its motion and speech, render every frame from its truth. For workers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from demo_corpus.expression import Controls, FaceRig
from demo_corpus.motion import NECK_PIVOT_CM, HeadMotion, draw_motion
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.render import Placement, render_frame
from demo_corpus.rendering.topology import LOWER_OUTER_LIP
from demo_corpus.speech import (
    Voice,
    draw_room,
    draw_syllables,
    mouth_at,
    recorded,
    synthesise,
)
from demo_corpus.truth import (
    CONTROL_COLUMNS,
    GAZE_COLUMNS,
    POSE_COLUMNS,
    apparent_pose,
    rotation_and_position,
    write_truth,
)
from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLE_RATE_HZ

Columns = Mapping[str, NDArray[np.floating[Any]]]  # of a truth table, [T] each


@dataclass(frozen=True)
class Scene:
    """Motion and sound of a video, T frames."""

    motion: HeadMotion
    opening_cm: NDArray[np.float64] = field(repr=False)  # [T] gap of the inner lips
    spread: NDArray[np.float64] = field(repr=False)  # [T]
    sound: NDArray[np.float32] = field(repr=False)  # [T / 25 * SAMPLE_RATE_HZ]


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
    sound = recorded(sound_rng, sound, draw_room(sound_rng))
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
    columns = scene_truth(scene, rig)
    frames = render_frames(rig, camera, columns, range(len(scene.opening_cm)))
    write_video(video, frames, FRAMES_PER_SECOND, scene.sound, SAMPLE_RATE_HZ)
    write_truth(truth, columns, camera, fingerprint)


def render_frames(
    rig: FaceRig, camera: Camera, columns: Columns, frames: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """Frames [side, side, 3] RGB of a head as the columns of a truth table say."""
    pose = np.stack([columns[name] for name in POSE_COLUMNS], axis=1)
    gaze = np.stack([columns[name] for name in GAZE_COLUMNS], axis=1).astype(np.float64)
    for frame in frames:
        placement = Placement(*rotation_and_position(pose[frame]))
        yield render_frame(rig, _controls(columns, frame), placement, gaze[frame], camera)


def render_cross_driven(
    rig: FaceRig, camera: Camera, truths: Mapping[str, pa.Table], frames: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    """What a person would look like with each control from a video of its own: the true frames.

    With all four controls from one of the person's own videos these are its frames before encoding.

    Args:
        rig: the person, see `people.load_person`.
        camera: the camera of the person's videos, see `truth.filming_camera`.
        truths: the truth table that drives each control of `truth.CONTROL_COLUMNS`.
        frames: frame numbers, which must be in every table.

    Yields:
        [side, side, 3] RGB.

    Raises:
        ValueError: a control is missing or unknown.
    """
    if truths.keys() != CONTROL_COLUMNS.keys():
        raise ValueError(
            f"truths must be for {', '.join(CONTROL_COLUMNS)}, got {', '.join(truths) or 'none'}"
        )
    columns = {
        name: truths[control][name].to_numpy() for control, names in CONTROL_COLUMNS.items() for name in names
    }
    yield from render_frames(rig, camera, columns, frames)


def _controls(columns: Columns, frame: int) -> Controls:
    return Controls(**{control.name: float(columns[control.name][frame]) for control in fields(Controls)})


def scene_truth(scene: Scene, rig: FaceRig) -> dict[str, NDArray[np.floating[Any]]]:
    """The truth table's columns, [T] each. The picture is rendered from them, rounded as in the table."""
    frames = len(scene.opening_cm)
    motion = scene.motion
    poses = np.empty((frames, 6))
    for frame in range(frames):
        rotation = rotation_from_angles(motion.angles_rad[frame])
        # Rotated about the neck, then shifted.
        turned = NECK_PIVOT_CM - rotation @ NECK_PIVOT_CM
        poses[frame] = apparent_pose(rotation, HEAD_REST_CM + turned + motion.shift_cm[frame])
    columns: dict[str, NDArray[np.floating[Any]]] = {
        **{name: poses[:, column] for column, name in enumerate(POSE_COLUMNS)},
        "gaze_pitch_rad": motion.gaze_rad[:, 0],
        "gaze_yaw_rad": motion.gaze_rad[:, 1],
        "blink_left": motion.blink[:, 0],
        "blink_right": motion.blink[:, 1],
        "mouth_opening_cm": scene.opening_cm,
        "mouth_spread": scene.spread,
        "smile": motion.smile,
        "brow_raise": motion.brow_raise,
    }
    rounded = {name: values.astype(np.float32) for name, values in columns.items()}
    corners = LOWER_OUTER_LIP[0], LOWER_OUTER_LIP[-1]
    widths = np.empty(frames)
    for frame in range(frames):
        vertices = rig.vertices_cm(_controls(rounded, frame))
        widths[frame] = np.linalg.norm(vertices[corners[0]] - vertices[corners[1]])
    numbers = np.arange(frames, dtype=np.float64)
    times = {"frame": numbers, "time_seconds": numbers / FRAMES_PER_SECOND}
    return times | rounded | {"mouth_width_cm": widths}
