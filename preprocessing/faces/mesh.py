"""MediaPipe's face detector and face mesh as its graphs run them: the reference for `tflite`.

Imports mediapipe when an object is built, never when this module is imported.
"""

from types import TracebackType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import LANDMARK_COUNT

MEDIAPIPE_VERSION: Final = "0.10.21"  # the last release whose wheel carries its models; pinned in the lock


class FaceMesh:
    """478 landmarks of the only face in a square image, tracked from call to call.

    MediaPipe projects the landmarks of a non-square image wrongly when the head is rolled
    (it warns of it), so this class takes square images only.
    """

    def __init__(self, *, tracking: bool, minimum_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_mesh import FaceMesh as MediaPipeFaceMesh

        self._mesh: Any = MediaPipeFaceMesh(
            static_image_mode=not tracking,
            max_num_faces=1,
            refine_landmarks=True,
            min_detection_confidence=minimum_confidence,
            min_tracking_confidence=minimum_confidence,
        )
        self._tracking = tracking

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Find the face's landmarks.

        Args:
            image: [S, S, 3] RGB.

        Returns:
            [478, 3] pixels of this image (pixel centres at whole numbers; z with the scale of x,
            negative nearer to the camera), or None where no face is found.
        """
        side = image.shape[0]
        if image.shape != (side, side, 3):
            raise ValueError(f"the face mesh needs a square RGB image, got {list(image.shape)}")
        faces = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not faces and self._tracking:
            # The tracker has just lost the face: in a second call the detector searches this frame.
            faces = self._mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
        if not faces:
            return None
        # No half pixel is subtracted: MediaPipe's 0 is the first pixel's centre. Measured: enlarging an image
        # k times moves its landmarks to k x + (k - 1) / 2, as it moves pixel centres.
        return parse_landmarks(faces[0].SerializeToString()) * np.float32(side)

    def forget(self) -> None:
        """Drop the tracked face: the next call searches the whole image.

        A blank image makes the tracker lose the face, at a fifth of the cost of MediaPipe's reset.
        """
        self._mesh.process(np.zeros((64, 64, 3), np.uint8))

    def close(self) -> None:
        """Free the graph."""
        self._mesh.close()

    def __enter__(self) -> "FaceMesh":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# One landmark of a serialised NormalizedLandmarkList: 15 bytes that hold x, y and z, each after its
# tag. Reading the numbers one by one from the message costs a tenth of the inference.
_LANDMARK: Final = np.dtype(
    [
        ("head", "V2"),
        *((f"{axis}{part}", kind) for axis in "xyz" for part, kind in (("_tag", "u1"), ("", "<f4"))),
    ]
)
_TAGS: Final = {"x_tag": 0x0D, "y_tag": 0x15, "z_tag": 0x1D}


def parse_landmarks(serialised: bytes) -> NDArray[np.float32]:
    """[478, 3] of a serialised landmark list."""
    records = np.frombuffer(serialised, _LANDMARK)
    assert len(records) == LANDMARK_COUNT
    assert all((records[name] == tag).all() for name, tag in _TAGS.items())
    return np.stack([records["x"], records["y"], records["z"]], axis=-1)


class FaceDetector:
    """MediaPipe's full-range detector: faces down to a twentieth of the image's side.

    Its graph keeps faces from a score of .6 on, whatever lower confidence is asked for.
    """

    mesh_over_box: ClassVar[float] = 1.25  # about: side of the face mesh's box / side of the detector's

    def __init__(self, minimum_confidence: float = 0.5) -> None:
        from mediapipe.python.solutions.face_detection import FaceDetection

        self._detector: Any = FaceDetection(model_selection=1, min_detection_confidence=minimum_confidence)

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Detect faces.

        Args:
            image: [H, W, 3] RGB.

        Returns:
            [N, 5] left, top, right, bottom in pixels and the score, best first.
        """
        height, width = image.shape[:2]
        boxes: list[tuple[float, ...]] = []
        for detection in self._detector.process(np.ascontiguousarray(image)).detections or []:
            box = detection.location_data.relative_bounding_box
            left, top = box.xmin * width, box.ymin * height
            right, bottom = left + box.width * width, top + box.height * height
            boxes.append((left, top, right, bottom, detection.score[0]))
        boxes.sort(key=lambda box: -box[4])
        return np.asarray(boxes, np.float32).reshape(-1, 5)

    def close(self) -> None:
        """Free the graph."""
        self._detector.close()
