"""Backend `face_landmarker` of `pose_labels`: the pose of MediaPipe's transformation matrix, and blendshapes.

Where the model finds no face in a frame, the pose goes on straight from the frames before and after; a clip
in which it finds none at all is labelled by the mean face. Both are counted.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers import face_landmarker
from preprocessing.labellers.face_landmarker import FaceLandmarker, FaceLandmarkerSettings
from preprocessing.labellers.pose_backend import LabelledPose, mean_face_residual_px
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import Clip

NAME: Final = face_landmarker.NAME
VERSION: Final = face_landmarker.VERSION


class DecodedClip(NamedTuple):
    """What the model looks at."""

    landmarks_px: NDArray[np.float32]  # [T, 478, 3] of the crop
    pictures: list[NDArray[np.uint8]]  # T of [224, 224, 3] RGB


class LandmarkerPose:
    """The model, ready for clips (`ClipNetwork`)."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker

    def prepare(self, clip: Clip) -> DecodedClip:
        """A clip's pictures."""
        return DecodedClip(clip.landmarks_px, [decode_jpeg(jpeg) for jpeg in clip.frames_jpeg])

    def label(self, ready: DecodedClip) -> LabelledPose:
        """Label a clip."""
        found = self._landmarker.label(ready.pictures)
        some = found.found.any()
        pose = bridged(found.pose, found.found) if some else label_pose(ready.landmarks_px).pose
        return LabelledPose(
            pose,
            mean_face_residual_px(pose, ready.landmarks_px),
            blendshapes=found.blendshapes,
            frames_bridged=int((~found.found).sum()),
        )


@contextmanager
def open_backend(model: Path, settings: FaceLandmarkerSettings) -> Generator[LandmarkerPose]:
    """The labeller of a task file, which is read once. Raises as `FaceLandmarker`."""
    with FaceLandmarker(model, settings) as landmarker:
        yield LandmarkerPose(landmarker)


def bridged(pose: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[T, 6] with straight lines over the frames that were not found; its ends go on as they are.

    Angles are far from where they wrap: a face that is found looks into the picture.
    """
    frames = np.arange(len(pose))
    columns = [np.interp(frames, frames[found], column[found]) for column in pose.T]
    return np.stack(columns, axis=1).astype(np.float32)
