"""The face mesh with attention, run without MediaPipe's graph: the same network at less than half the cost.

`face_landmark_with_attention.tflite` has three kinds of custom operators, which LiteRT does not know. They
stand between two plain networks, and are numpy here: a trunk finds 468 points and a map of features; eyes and
lips are cut out of the map where the points are, turned upright; small networks refine them and find the
irises. Between frames the region of interest follows the points, as in `face_landmark_front_cpu.pbtxt`.

Points and regions are in pixels of a square image as MediaPipe measures them: 0 is the centre of the first.
"""

import threading
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape.geometry import bounding_box
from preprocessing.faces.tflite.detector import SHORT_RANGE, FaceBoxes
from preprocessing.faces.tflite.graph import Network, custom_options, part_of_graph
from preprocessing.schema import LANDMARK_COUNT

FILE: Final = "face_landmark/face_landmark_with_attention.tflite"
SIDE_PX: Final = 192  # of the network's input
MESH_POINTS: Final = 468
# Tensors of the file.
IMAGE, FEATURES, MESH, FACE_FLAG = 0, 35, 186, 710
CROP_MATRICES: Final = (196, 197, 198)  # of lips, image-left eye, image-right eye
CROPS: Final = (199, 200, 201)
REFINED: Final = (697, 700, 704, 703, 707)  # lips, eyes, irises: points of a crop
CROP_OF_REFINED: Final = (0, 1, 2, 1, 2)
IRISES: Final = (np.arange(468, 473), np.arange(473, 478))
PX_PER_FEATURE: Final = 4.0  # of the map, 48 x 48
CROP_SIDE: Final = 16
CROP_SCALE: Final = 1.5  # of the box of its points
BEYOND: Final = -8.0  # a place outside the map
DETECTION_CONFIDENCE: Final = 0.5  # face_detection_short_range.pbtxt
# face_landmark_landmarks_to_roi.pbtxt
REGION_SCALE: Final = 1.5
CROP_SHARE: Final = 0.93  # of an aligned crop's side: the region in which the network expects the face
IMAGE_LEFT_CORNER, IMAGE_RIGHT_CORNER = 33, 263
# tensors_to_face_landmarks_with_attention.pbtxt: the irises lie in the mean depth of these points.
EYE_CONTOURS: Final = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
)

_TICKS: Final = np.arange(CROP_SIDE) + 0.5
_GRID: Final = np.stack(  # [3, 256]: x, y, 1 of the crop's places
    [np.tile(_TICKS, CROP_SIDE), np.repeat(_TICKS, CROP_SIDE), np.ones(CROP_SIDE**2)]
)


@dataclass(frozen=True)
class Region:
    """A rotated square of an image: pixels, and radians clockwise."""

    centre: NDArray[np.float64]  # [2]
    side: float
    angle: float

    def to_image(self) -> NDArray[np.float64]:
        """[2, 3] map from the network's pixels to the image's."""
        zoom = self.side / SIDE_PX
        cosine, sine = zoom * np.cos(self.angle), zoom * np.sin(self.angle)
        linear = np.array([[cosine, -sine], [sine, cosine]])
        return np.column_stack([linear, self.centre - linear.sum(axis=1) * (SIDE_PX / 2)])

    def scaled(self, zoom: float) -> "Region":
        """The same region of an image that is enlarged."""
        return Region(self.centre * zoom, self.side * zoom, self.angle)


def _region(box: NDArray[np.float64], eyes: NDArray[np.float64]) -> Region:
    """The region around a box [4] (left, top, right, bottom), upright for eyes [2, 2], image-left first."""
    (across, down), size = eyes[1] - eyes[0], box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2
    return Region(centre, REGION_SCALE * float(size.max()), float(np.arctan2(down, across)))


class _Cuts:
    """The squares of 16 x 16 features around the points of lips and eyes (Landmarks2TransformMatrix).

    Attributes:
        points: of each cut, [N].
    """

    def __init__(self) -> None:
        options = [custom_options(FILE, tensor) for tensor in CROP_MATRICES]
        for each in options:
            assert each["target_rotation_radians"] == 0.0
            assert each["scale_x"] == each["scale_y"] == CROP_SCALE
            assert each["output_width"] == each["output_height"] == CROP_SIDE
        self.points = [np.array(each["subset_idxs"], np.intp) for each in options]
        self._all_points = np.concatenate(self.points)
        lengths = [len(points) for points in self.points]
        self._cut_of_point = np.repeat(np.arange(len(options)), lengths)
        self._starts = np.cumsum([0, *lengths[:-1]])
        # A line that is made horizontal: its left and its right end.
        self._ends = np.array([[each["left_rotation_idx"], each["right_rotation_idx"]] for each in options])

    def to_features(self, mesh: NDArray[np.float32]) -> NDArray[np.float64]:
        """[3, 2, 3] maps from the cuts to the feature map; 0 is the outer edge of the first in both.

        Args:
            mesh: [468, 3] in the network's pixels.
        """
        plane = mesh[:, :2].astype(np.float64).view(np.complex128)[:, 0] / PX_PER_FEATURE
        across = plane[self._ends[:, 1]] - plane[self._ends[:, 0]]
        turn = across / np.maximum(np.abs(across), 1e-9)  # from upright to the map
        upright = plane[self._all_points] * turn.conj()[self._cut_of_point]
        upright = np.stack([upright.real, upright.imag])
        low = np.minimum.reduceat(upright, self._starts, axis=1)
        high = np.maximum.reduceat(upright, self._starts, axis=1)
        (width, height), (x, y) = CROP_SCALE / CROP_SIDE * (high - low), (low + high) / 2
        maps = np.empty((len(turn), 2, 3))
        maps[:, 0, 0], maps[:, 1, 0] = turn.real * width, turn.imag * width
        maps[:, 0, 1], maps[:, 1, 1] = -turn.imag * height, turn.real * height
        maps[:, 0, 2], maps[:, 1, 2] = turn.real * x - turn.imag * y, turn.imag * x + turn.real * y
        maps[:, :, 2] -= (maps[:, :, 0] + maps[:, :, 1]) * (CROP_SIDE / 2)
        return maps


def sample_features(features: NDArray[np.float32], to_features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear samples of a map [H, W, C] at K squares of 16 x 16 places (TransformTensorBilinear).

    Args:
        features: the map.
        to_features: [K, 2, 3] maps from the squares to it; 0 is the outer edge of the first in both.

    Returns:
        [K, 16, 16, C]; 0 at places beyond the centres of the map's outermost features.
    """
    height, width, channels = features.shape
    x, y = np.moveaxis((to_features @ _GRID - 0.5).astype(np.float32), 1, 0)  # each [K, 256]
    x[(x < 0.0) | (x > width - 1) | (y < 0.0) | (y > height - 1)] = BEYOND
    # In steps of a 32nd of a feature, which moves the landmarks by hundredths of a pixel.
    rows = (len(to_features) * CROP_SIDE, CROP_SIDE)
    samples = cv2.remap(
        features, x.reshape(rows), y.reshape(rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(samples, np.float32).reshape(len(to_features), CROP_SIDE, CROP_SIDE, channels)


class AttentionMesh:
    """478 points of the face in a region. Has no state: one serves any number of faces."""

    def __init__(self) -> None:
        self._trunk = Network(part_of_graph(FILE, [IMAGE], [MESH, FEATURES, FACE_FLAG]))
        self._heads = Network(part_of_graph(FILE, CROPS, REFINED))
        self._cuts = _Cuts()
        self._refined = [*self._cuts.points, *IRISES]

    def find(
        self, image: NDArray[np.uint8], region: Region, minimum_confidence: float
    ) -> NDArray[np.float32] | None:
        """Find the points of a face.

        Args:
            image: [S, S, 3] RGB.
            region: where the face is.
            minimum_confidence: that a face is there, 0 to 1.

        Returns:
            [478, 3] px of the image, z with the scale of x; None with less confidence.
        """
        to_image = region.to_image()
        mesh, features, flag = self._look(image, to_image)
        if 1.0 / (1.0 + np.exp(-float(flag.item()))) <= minimum_confidence:
            return None
        points = self._refine(mesh.reshape(MESH_POINTS, 3), features[0])
        points[:, :2] = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        points[:, 2] *= region.side / SIDE_PX
        return points.astype(np.float32)

    def face_logit(self, image: NDArray[np.uint8], region: Region) -> float:
        """Logit of the probability that the region of [S, S, 3] RGB shows an upright face."""
        return float(self._look(image, region.to_image())[2].item())

    def _look(self, image: NDArray[np.uint8], to_image: NDArray[np.float64]) -> list[NDArray[np.float32]]:
        """The trunk's points, features and face flag."""
        size, flags = (SIDE_PX, SIDE_PX), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(image, to_image, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        np.multiply(picture, np.float32(1 / 255), out=self._trunk.input()[0])
        return self._trunk.run()

    def _refine(self, mesh: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float64]:
        """[478, 3] from the trunk's points [468, 3] and features [48, 48, 32], in the network's pixels."""
        matrices = self._cuts.to_features(mesh)
        for number, crop in enumerate(sample_features(features, matrices)):
            self._heads.input(number)[0] = crop
        points = np.empty((LANDMARK_COUNT, 3))
        points[:MESH_POINTS] = mesh
        for indices, crop, refined in zip(self._refined, CROP_OF_REFINED, self._heads.run(), strict=True):
            # The heads count in quarters of a feature.
            linear, shift = matrices[crop, :, :2], matrices[crop, :, 2]
            points[indices, :2] = refined[0] @ linear.T + PX_PER_FEATURE * shift
        for iris, contour in zip(IRISES, EYE_CONTOURS, strict=True):
            points[iris, 2] = mesh[list(contour), 2].mean()
        return points


class RegionMesh(Protocol):
    """Finds the points of a face in a region: `AttentionMesh` or `faces.batched.mesh.BatchedMesh`."""

    def find(
        self, image: NDArray[np.uint8], region: Region, minimum_confidence: float
    ) -> NDArray[np.float32] | None:
        """As `AttentionMesh.find`."""
        ...


class FaceFollower:
    """478 landmarks of the only face in a square image, followed from call to call.

    Args:
        minimum_confidence: that the face is still there; below it, the whole image is searched.
        mesh: None for this thread's `AttentionMesh`.
    """

    def __init__(self, *, minimum_confidence: float = 0.5, mesh: RegionMesh | None = None) -> None:
        self._minimum_confidence = minimum_confidence
        self._mesh = mesh or _networks().mesh
        self._region: Region | None = None
        self._side_px = 0  # of the image with this region

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Find the face's landmarks, as `mesh.FaceMesh.find` does.

        Args:
            image: [S, S, 3] RGB.

        Returns:
            [478, 3] px of this image, pixel centres at whole numbers; z with the scale of x, negative nearer
            to the camera. None where no face is found.

        Raises:
            ValueError: the image is not a square.
        """
        side_px = image.shape[0]
        if image.shape != (side_px, side_px, 3):
            raise ValueError(f"the face mesh needs a square RGB image, got {list(image.shape)}")
        landmarks = None
        if self._region is not None:
            # As in the graph, whose regions are shares of the image: its side may change.
            region = self._region.scaled(side_px / self._side_px)
            landmarks = self._mesh.find(image, region, self._minimum_confidence)
        if landmarks is None:
            faces = _networks().detector.find(image)
            if len(faces):
                region = _region(faces[0, :4], faces[0, 4:8].reshape(2, 2))
                landmarks = self._mesh.find(image, region, self._minimum_confidence)
        self._region = None if landmarks is None else region_of_landmarks(landmarks)
        self._side_px = side_px
        return landmarks

    def forget(self) -> None:
        """Drop the followed face: the next call searches the whole image."""
        self._region = None

    def close(self) -> None:
        """Nothing to free: the networks are the process's."""


def face_logit(image: NDArray[np.uint8]) -> float:
    """As `AttentionMesh.face_logit`, of an aligned crop [S, S, 3] RGB.

    Of 253 real crops 19 to 40, turned upside down less by 10 to 35; scores of detectors do not tell.
    """
    side = float(len(image))
    return _networks().mesh.face_logit(image, Region(np.full(2, (side - 1.0) / 2), CROP_SHARE * side, 0.0))


class _Networks(threading.local):
    """Each thread's own: LiteRT's interpreters must not be shared."""

    @cached_property
    def mesh(self) -> AttentionMesh:
        return AttentionMesh()

    @cached_property
    def detector(self) -> FaceBoxes:
        return FaceBoxes(SHORT_RANGE, DETECTION_CONFIDENCE)


@cache
def _networks() -> _Networks:
    return _Networks()


def region_of_landmarks(landmarks: NDArray[np.float32]) -> Region:
    """Where the face with these landmarks [478, 3] is looked for in the next frame."""
    eyes = landmarks[[IMAGE_LEFT_CORNER, IMAGE_RIGHT_CORNER], :2].astype(np.float64)
    return _region(bounding_box(landmarks), eyes)
