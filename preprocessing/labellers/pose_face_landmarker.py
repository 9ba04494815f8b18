"""Backend `face_landmarker` of `pose_labels`: the pose of MediaPipe's transformation matrix, and blendshapes.

Where the model finds no face in a frame, the pose goes on straight from the frames before and after; a clip
in which it finds none at all is labelled by the mean face. Both are counted.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers import face_landmarker
from preprocessing.labellers.face_landmarker import FaceLandmarker, FaceLandmarkerSettings
from preprocessing.labellers.pose_backend import LabelledPose, mean_face_residual_px
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.schema import Clip

NAME: Final = face_landmarker.NAME
VERSION: Final = face_landmarker.VERSION


@contextmanager
def open_backend(model: Path, settings: FaceLandmarkerSettings) -> Generator[Callable[[Clip], LabelledPose]]:
    """The labeller of a task file, which is read once. Raises as `FaceLandmarker`."""
    with FaceLandmarker(model, settings) as landmarker:

        def label(clip: Clip) -> LabelledPose:
            found = landmarker.label_jpegs(clip.frames_jpeg)
            if found.found.any():
                pose = bridged(found.pose, found.found)
            else:
                pose = label_pose(clip.landmarks_px).pose
            return LabelledPose(
                pose,
                mean_face_residual_px(pose, clip.landmarks_px),
                blendshapes=found.blendshapes,
                frames_bridged=int((~found.found).sum()),
            )

        yield label


def bridged(pose: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[T, 6] with straight lines over the frames that were not found; its ends go on as they are.

    Angles are far from where they wrap: a face that is found looks into the picture.
    """
    frames = np.arange(len(pose))
    columns = [np.interp(frames, frames[found], column[found]) for column in pose.T]
    return np.stack(columns, axis=1).astype(np.float32)
