"""Read what a face does in a video with the data set's labellers: mouth, pose, gaze, blink, brows, smile.

Every video, generated or real, is read in the same way: each frame at 224 px, MediaPipe's face mesh in
tracking mode restarted for the video, irises measured in the picture, then the labellers of `preprocessing`.
Frames must be aligned crops of one face, as those of the data set and of the networks are.

MediaPipe is imported when a `FaceReader` is built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control
from preprocessing.faces.iris_refinement import refine_irises
from preprocessing.faces.mesh import FaceMesh
from preprocessing.faces.shape.expression import measure_expression
from preprocessing.labellers.blink_lids import (
    OpennessLevels,
    label_blink,
    measure_openness,
    person_openness_levels,
)
from preprocessing.labellers.gaze_iris import label_gaze
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.schema import CROP_SIDE_PX, LANDMARK_COUNT

SCORER: Final = "mediapipe_mesh"
SETTLING_STEPS: Final = 5
"""Repeated tracker steps on the first frame with a face: pitch drifts by a degree in the first three."""
MEASURES: Final[Mapping[str, Control]] = MappingProxyType(
    {
        "mouth_opening": "lip",
        "pitch": "pose",
        "yaw": "pose",
        "roll": "pose",
        "gaze_pitch": "eye",
        "gaze_yaw": "eye",
        "blink": "eye",
        "brow_raise": "expression",
        "smile": "expression",
    }
)
"""Measure -> the control to which it belongs."""


@dataclass(frozen=True)
class FaceReadings:
    """Measures of a face over T frames, NaN in frames without a face.

    Attributes:
        found: [T] whether a face was found.
        landmarks_px: [T, 478, 3] in the 224 px crop; all NaN if the readings are not from a mesh.
        mouth_opening: [T] gap of the inner lips over the eyes' distance.
        pose_rad: [T, 3] pitch, yaw, roll in the crop camera (`preprocessing.faces.shape.frame_of_reference`).
        gaze_rad: [T, 2] pitch, yaw in head coordinates; NaN also where both eyes are shut.
        blink: [T, 2] image-left eye, image-right eye; 0 open to 1 shut.
        brow_raise, smile: [T] cm, see `preprocessing.faces.shape.expression`.
        levels: Openness that counts as open and as shut; None if no face was found.
    """

    found: NDArray[np.bool_]
    landmarks_px: NDArray[np.float32] = field(repr=False)
    mouth_opening: NDArray[np.float32] = field(repr=False)
    pose_rad: NDArray[np.float32] = field(repr=False)
    gaze_rad: NDArray[np.float32] = field(repr=False)
    blink: NDArray[np.float32] = field(repr=False)
    brow_raise: NDArray[np.float32] = field(repr=False)
    smile: NDArray[np.float32] = field(repr=False)
    levels: OpennessLevels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        frames = len(self.found)
        for name, shape in _SHAPES.items():
            array = getattr(self, name)
            if array.shape != (frames, *shape):
                raise ValueError(f"{name} is {list(array.shape)}, need {[frames, *shape]}")

    def __len__(self) -> int:
        return len(self.found)

    @property
    def measures(self) -> Mapping[str, Control]:
        """`MEASURES`."""
        return MEASURES

    def at(self, indices: NDArray[np.int64]) -> "FaceReadings":
        """The readings of some frames, in that order."""
        return replace(
            self,
            found=self.found[indices],
            landmarks_px=self.landmarks_px[indices],
            mouth_opening=self.mouth_opening[indices],
            pose_rad=self.pose_rad[indices],
            gaze_rad=self.gaze_rad[indices],
            blink=self.blink[indices],
            brow_raise=self.brow_raise[indices],
            smile=self.smile[indices],
        )

    def measure(self, name: str) -> NDArray[np.float64]:
        """[T] one of `MEASURES`, NaN where it was not read; angles in degrees, blink is both eyes' mean.

        Raises:
            ValueError: there is no such measure.
        """
        series = {
            "mouth_opening": self.mouth_opening,
            "pitch": np.degrees(self.pose_rad[:, 0]),
            "yaw": np.degrees(self.pose_rad[:, 1]),
            "roll": np.degrees(self.pose_rad[:, 2]),
            "gaze_pitch": np.degrees(self.gaze_rad[:, 0]),
            "gaze_yaw": np.degrees(self.gaze_rad[:, 1]),
            "blink": self.blink.mean(axis=1),
            "brow_raise": self.brow_raise,
            "smile": self.smile,
        }
        if name not in series:
            raise ValueError(f"no measure {name!r}; there are {', '.join(MEASURES)}")
        return series[name].astype(np.float64)


_SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "landmarks_px": (LANDMARK_COUNT, 3),
    "mouth_opening": (),
    "pose_rad": (3,),
    "gaze_rad": (2,),
    "blink": (2,),
    "brow_raise": (),
    "smile": (),
}


class FaceReader:
    """Reads one video after the other; a context manager that closes MediaPipe's mesh."""

    def __init__(self) -> None:
        self._mesh = FaceMesh(tracking=True)

    def read(self, frames: Iterable[NDArray[np.uint8]], levels: OpennessLevels | None = None) -> FaceReadings:
        """Read one video.

        How wide an open eye stands differs from person to person. A generated video shows the person of its
        portrait, so give it the levels of that person's true clip (`FaceReadings.levels`): a model that
        leaves the eyes half shut throughout is then seen to do so. Without levels the video's own serve:
        its 75th percentile counts as open, and only changes over time tell.

        Args:
            frames: [S, S, 3] uint8 RGB each, of any side S; other sides than 224 are resized, bicubic.
            levels: Openness that counts as open and as shut; None: from this video.

        Raises:
            ValueError: a frame is not a square RGB picture.
        """
        self._mesh.forget()
        found: list[NDArray[np.float32] | None] = []
        for frame in frames:
            picture = at_crop_side(frame)
            fresh = not found or found[-1] is None
            landmarks_px = self._settled(picture) if fresh else self._mesh.find(picture)
            found.append(None if landmarks_px is None else refine_irises(picture, landmarks_px))
        return readings_of_landmarks(found, levels)

    def _settled(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Landmarks of the first frame of a face, after the tracker's window has settled."""
        landmarks_px = self._mesh.find(picture)
        for _ in range(SETTLING_STEPS if landmarks_px is not None else 0):
            again = self._mesh.find(picture)
            landmarks_px = landmarks_px if again is None else again
        return landmarks_px

    def close(self) -> None:
        """Free the mesh."""
        self._mesh.close()

    def __enter__(self) -> "FaceReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def at_crop_side(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A square picture at 224 px, bicubic.

    Raises:
        ValueError: it is not square.
    """
    side = frame.shape[0]
    if frame.shape != (side, side, 3):
        raise ValueError(f"a frame is {list(frame.shape)}, need [S, S, 3]")
    if side == CROP_SIDE_PX:
        return frame
    return np.asarray(
        cv2.resize(frame, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=cv2.INTER_CUBIC), np.uint8
    )


def readings_of_landmarks(
    landmarks_px: Iterable[NDArray[np.float32] | None], levels: OpennessLevels | None = None
) -> FaceReadings:
    """Apply the labellers to landmarks.

    Args:
        landmarks_px: [478, 3] per frame in the 224 px crop's pixels, None where no face was found.
        levels: Openness that counts as open and as shut; None: from these landmarks.
    """
    every = list(landmarks_px)
    found = np.array([points is not None for points in every], np.bool_)
    seen = np.stack([points for points in every if points is not None]) if found.any() else None
    if seen is None:
        return _filled(found, {}, levels)
    if levels is None:
        levels = person_openness_levels([measure_openness(seen)])
    pose = label_pose(seen).pose
    blink = label_blink(seen, levels)
    gaze = label_gaze(seen, pose, blink)
    expression = measure_expression(seen, pose)
    values = {
        "landmarks_px": seen,
        "mouth_opening": measure_mouth_opening(seen),
        "pose_rad": pose[:, :3],
        "gaze_rad": np.where(gaze.valid[:, None], gaze.gaze, np.float32(np.nan)),
        "blink": blink,
        "brow_raise": expression.brow_raise,
        "smile": expression.smile,
    }
    return _filled(found, values, levels)


def _filled(
    found: NDArray[np.bool_], values: Mapping[str, NDArray[np.float32]], levels: OpennessLevels | None
) -> FaceReadings:
    """Readings that are NaN in frames without a face; `values` have the frames with one."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, shape in _SHAPES.items():
        arrays[name] = np.full((len(found), *shape), np.nan, np.float32)
        if name in values:
            arrays[name][found] = values[name]
    return FaceReadings(found=found, levels=levels, **arrays)
