"""Portrait photos from installed packages or from the user, with their face landmarks.

Bundled: scikit-image's astronaut, the group photo and a face in insightface's wheel, and a portrait in
matplotlib's sample data. All are part of the installed packages; nothing is downloaded, and the packages
are not imported.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PORTRAIT_SIDE_PX: Final = 640
# Crop side / face-box width: includes hair, ears, neck and the top of the shoulders.
CROP_OVER_FACE: Final = 3.4


@dataclass(frozen=True)
class PortraitPlace:
    """One face in a picture: its centre and width in pixels of that picture."""

    package: str
    path_in_package: str
    centre_x_px: int
    centre_y_px: int
    width_px: int
    has_body: bool = True  # whether the picture shows hair, neck and shoulders too

    @property
    def name(self) -> str:
        """Name of the portrait: the picture's, and the column of the face in it."""
        return f"{Path(self.path_in_package).stem.lower()}-{self.centre_x_px}"


@dataclass(frozen=True)
class Portrait:
    """A square crop around one face, with its landmarks."""

    name: str
    image: NDArray[np.uint8] = field(repr=False)  # [PORTRAIT_SIDE_PX, PORTRAIT_SIDE_PX, 3] RGB
    landmarks_px: NDArray[np.float64] = field(repr=False)  # [478, 3] x right, y down, z < 0 nearer
    person: NDArray[np.uint8] = field(repr=False)  # [PORTRAIT_SIDE_PX, PORTRAIT_SIDE_PX] 0 background .. 255
    has_body: bool = True


# From MediaPipe's full-range detector on overlapping 320 px tiles of the pictures, enlarged twice;
# the test checks that there is a face at each place.
BUNDLED: Final = (
    PortraitPlace("skimage", "data/astronaut.png", 225, 120, 104),
    PortraitPlace("insightface", "data/images/t1.jpg", 310, 215, 105),
    PortraitPlace("insightface", "data/images/t1.jpg", 514, 345, 130),
    PortraitPlace("insightface", "data/images/t1.jpg", 784, 415, 122),
    PortraitPlace("insightface", "data/images/t1.jpg", 117, 337, 110),
    PortraitPlace("insightface", "data/images/t1.jpg", 1173, 344, 114),
    PortraitPlace("insightface", "data/images/Tom_Hanks_54745.png", 61, 60, 72, has_body=False),
    PortraitPlace("insightface", "data/images/t1.jpg", 934, 134, 136),
    PortraitPlace("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", 261, 225, 165),
)


def load_bundled(place: PortraitPlace) -> Portrait:
    """Load the portrait at a known place of an installed package's picture.

    Raises:
        ValueError: the package is not installed, or there is no face at that place.
    """
    spec = find_spec(place.package)
    if spec is None or spec.origin is None:
        raise ValueError(f"package {place.package!r} is not installed: no portrait {place.path_in_package}")
    image = read_picture(Path(spec.origin).parent / place.path_in_package)
    square = crop_square(
        image, float(place.centre_x_px), float(place.centre_y_px), place.width_px * CROP_OVER_FACE
    )
    faces = find_landmarks(square)
    if not faces:
        raise ValueError(
            f"no face in {place.package}/{place.path_in_package} at {place.centre_x_px}, {place.centre_y_px}"
        )
    return Portrait(place.name, square, _most_central(faces), find_person(square), place.has_body)


def load_portrait(path: Path) -> Portrait:
    """Load a portrait from a user's picture, which must show exactly one face.

    Raises:
        ValueError: not a readable picture, no face, or several faces; the message names the file.
    """
    image = read_picture(path)
    side = float(max(image.shape[:2]))
    # Padded with black: at mirrored edges the detector might find a second face.
    pad = ((0, int(side) - image.shape[0]), (0, int(side) - image.shape[1]), (0, 0))
    whole = crop_square(np.pad(image, pad), side / 2, side / 2, side)
    faces = find_landmarks(whole)
    if len(faces) != 1:
        raise ValueError(f"portrait {path} shows {len(faces) or 'no'} faces, need exactly one")
    scale = side / PORTRAIT_SIDE_PX
    low, high = faces[0][:, :2].min(axis=0), faces[0][:, :2].max(axis=0)
    centre = (low + high) / 2 * scale
    square = crop_square(
        image, float(centre[0]), float(centre[1]), float((high - low)[0]) * scale * CROP_OVER_FACE
    )
    faces = find_landmarks(square)
    if not faces:
        raise ValueError(f"portrait {path}: no face in the crop around it, need a larger, frontal face")
    return Portrait(path.stem.lower(), square, _most_central(faces), find_person(square))


def _most_central(faces: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The face nearest to the centre of a crop around it."""
    return min(faces, key=lambda face: float(np.linalg.norm(face[:, :2].mean(axis=0) - PORTRAIT_SIDE_PX / 2)))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read an RGB picture [H, W, 3], upright; ValueError if the file is missing or not a picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise ValueError(f"portrait {path}: no such file")
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"portrait {path} is not a picture that Pillow can read: {error}") from error


def crop_square(
    image: NDArray[np.uint8], centre_x_px: float, centre_y_px: float, side_px: float
) -> NDArray[np.uint8]:
    """A square around a point, resized to PORTRAIT_SIDE_PX; beyond the picture's edge it is mirrored."""
    import cv2

    scale = PORTRAIT_SIDE_PX / side_px
    middle = PORTRAIT_SIDE_PX / 2
    matrix = np.array(
        [[scale, 0, middle - centre_x_px * scale], [0, scale, middle - centre_y_px * scale]], np.float64
    )
    size = (PORTRAIT_SIDE_PX, PORTRAIT_SIDE_PX)
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    square = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(square, np.uint8)


def find_landmarks(image: NDArray[np.uint8], most_faces: int = 3) -> list[NDArray[np.float64]]:
    """MediaPipe's 478 face-mesh points of each face, [478, 3] px. Imports mediapipe."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    height, width = image.shape[:2]
    with FaceMesh(
        static_image_mode=True,
        refine_landmarks=True,
        max_num_faces=most_faces,
        min_detection_confidence=0.4,
    ) as mesh:
        result: Any = mesh.process(image)
    found = result.multi_face_landmarks or []
    scale = np.array([width, height, width], np.float64)
    return [np.array([(point.x, point.y, point.z) for point in face.landmark]) * scale for face in found]


def find_person(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """MediaPipe's mask of people, [H, W] 0 background .. 255. Imports mediapipe."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    with SelfieSegmentation(model_selection=0) as network:
        result: Any = network.process(image)
    return np.asarray(np.rint(np.clip(result.segmentation_mask, 0, 1) * 255), np.uint8)
