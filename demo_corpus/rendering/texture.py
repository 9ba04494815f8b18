"""A photo's frontal texture: the portrait warped to the frontal view."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.portraits import Portrait
from demo_corpus.rendering.camera import FIELD_CM
from demo_corpus.rendering.raster import dense_map
from demo_corpus.rendering.topology import (
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
    closed_loop,
)
from preprocessing.faces.shape.landmark_groups import FACE_OVAL

TEXTURE_SIDE_PX: Final = 640
PX_PER_CM: Final = TEXTURE_SIDE_PX / FIELD_CM
TURNED_RAD: Final = float(np.deg2rad(5.0))  # above, a face's hidden side is mirrored
HALF_PROFILE_RAD: Final = float(np.deg2rad(16.0))  # above, the whole picture's hidden side
NOSE_SHADOW_CM_PER_RAD: Final = 0.7  # strip beside the middle that is hidden by the nose's ridge
OPEN_MOUTH_SHARE: Final = 0.06  # inner-lip gap / mouth width above which teeth are visible
LIP_OVER_SKIN: Final = np.array([0.80, 0.56, 0.56])  # colour of natural lips relative to the cheek's


def frontal_texture(
    portrait: Portrait,
    in_portrait_px: NDArray[np.float64],
    texture_px: NDArray[np.float64],
    triangles: NDArray[np.int32],
    yaw_rad: float,
) -> NDArray[np.uint8]:
    """The portrait in frontal view, [TEXTURE_SIDE_PX, TEXTURE_SIDE_PX, 4] RGB and the mask of people.

    Args:
        portrait: the photo.
        in_portrait_px: [V, 2] the head's vertices in the photo.
        texture_px: [V, 2] the same vertices in the texture, which is symmetric about its middle.
        triangles: [F, 3].
        yaw_rad: of the photographed head.
    """
    import cv2

    map_x, map_y, _ = dense_map(texture_px, in_portrait_px, triangles, TEXTURE_SIDE_PX)
    image = np.dstack([portrait.image, portrait.person])
    texture = cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    texture = np.asarray(texture, np.uint8)
    if abs(yaw_rad) >= TURNED_RAD:
        outline = texture_px[list(FACE_OVAL)]
        texture = _mirror_hidden_side(texture, yaw_rad, outline)
    lips = portrait.landmarks_px[
        [UPPER_INNER_LIP[5], LOWER_INNER_LIP[5], LOWER_OUTER_LIP[0], LOWER_OUTER_LIP[-1]]
    ]
    gap, width = np.linalg.norm(lips[0] - lips[1]), np.linalg.norm(lips[2] - lips[3])
    if gap > OPEN_MOUTH_SHARE * width:
        texture[..., :3] = _colour_lips(texture[..., :3], texture_px)
    return texture


def _mirror_hidden_side(
    texture: NDArray[np.uint8], yaw_rad: float, outline_px: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Replace the side hidden by a turned face by the mirror image of the visible side.

    For small yaw only inside the face's outline; from HALF_PROFILE_RAD in the whole picture.
    """
    import cv2

    middle = (TEXTURE_SIDE_PX - 1) / 2
    offset = np.arange(TEXTURE_SIDE_PX) - middle
    # Both sides take their colours from the visible one; the strip hidden by the nose from beside it.
    strip_px = NOSE_SHADOW_CM_PER_RAD * abs(yaw_rad) * PX_PER_CM
    source = middle - np.sign(yaw_rad) * np.sqrt(offset**2 + strip_px**2)
    map_x = np.broadcast_to(source[None, :], texture.shape[:2]).astype(np.float32)
    map_y = np.broadcast_to(np.arange(TEXTURE_SIDE_PX)[:, None], texture.shape[:2]).astype(np.float32)
    mirror = cv2.remap(texture, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if abs(yaw_rad) >= HALF_PROFILE_RAD:
        return np.asarray(mirror, np.uint8)
    share = soft_inside(outline_px, 0.5)
    return np.asarray(np.rint(texture * (1 - share) + mirror * share), np.uint8)


def _colour_lips(texture: NDArray[np.uint8], texture_px: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour lips that cover the photo's teeth like lips."""
    outline = texture_px[closed_loop(UPPER_OUTER_LIP, LOWER_OUTER_LIP)]
    cheeks = np.rint(texture_px[[205, 425]]).astype(int)
    skin = np.median([texture[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3) for x, y in cheeks], axis=(0, 1))
    share = 0.6 * soft_inside(outline, 0.1)
    coloured = texture * (1 - share) + skin * LIP_OVER_SKIN * share
    return np.asarray(np.rint(coloured), np.uint8)


def soft_inside(polygon_px: NDArray[np.float64], softness_cm: float) -> NDArray[np.float32]:
    """[side, side, 1] 1 inside a polygon of the texture, fading to 0 outside."""
    import cv2

    inside = np.zeros((TEXTURE_SIDE_PX, TEXTURE_SIDE_PX), np.float32)
    cv2.fillPoly(inside, [np.rint(polygon_px).astype(np.int32)], (1.0,))
    return np.asarray(cv2.GaussianBlur(inside, (0, 0), softness_cm * PX_PER_CM), np.float32)[..., None]
