"""Render one frame of a talking head: skin by one remap, then eyeballs, lash lines and the mouth's inside."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.expression import EYELIDS, Controls, FaceRig
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.painting import paint_eyeball, paint_mouth
from demo_corpus.rendering.raster import dense_map, signed_areas_px
from demo_corpus.rendering.topology import LOWER_INNER_LIP, UPPER_INNER_LIP, closed_loop
from preprocessing.faces.shape.frame_of_reference import direction_from_gaze, rotation_from_angles

MASK_BITS: Final = 4
LASH_SHARE: Final = 0.55


@dataclass(frozen=True)
class Placement:
    """Pose of a head in one frame: camera coordinates = rotation @ head coordinates + position."""

    rotation: NDArray[np.float64]  # [3, 3]
    position_cm: NDArray[np.float64]  # [3] the head's origin, from the reference point


def place(angles_rad: NDArray[np.float64], position_cm: NDArray[np.float64]) -> Placement:
    """Placement from pitch, yaw, roll [3] rad and the head origin's position [3] cm."""
    return Placement(rotation_from_angles(angles_rad), np.asarray(position_cm, np.float64))


def project_head(
    rig: FaceRig, vertices_cm: NDArray[np.float64], placement: Placement, camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Picture points [V, 2] px of a moved face, and its vertices' z towards the camera [V] cm."""
    posed = vertices_cm @ placement.rotation.T + placement.position_cm
    follow = rig.head.follow[:, None]
    resting = camera.project(vertices_cm + HEAD_REST_CM)
    return camera.project(posed) * follow + resting * (1 - follow), posed[:, 2]


def render_frame(
    rig: FaceRig, controls: Controls, placement: Placement, gaze_rad: NDArray[np.float64], camera: Camera
) -> NDArray[np.uint8]:
    """Render a head, [side, side, 3] RGB.

    Args:
        rig: the head and its displacement fields.
        controls: the expression.
        placement: the head's pose.
        gaze_rad: [2] pitch, yaw of both eyes in head coordinates.
        camera: the camera.
    """
    import cv2

    head = rig.head
    vertices = rig.vertices_cm(controls)
    screen, depth = project_head(rig, vertices, placement, camera)
    rings, face = np.split(head.triangles, [head.face_triangles_from])
    face = face[np.argsort(depth[face].mean(axis=1), kind="stable")]
    order = np.concatenate([rings, face])
    # The mesh covers the picture without gaps, so in front of every back-facing triangle there is a
    # front-facing one. Back faces are drawn first: they only fill gaps that rounding leaves.
    fronts = signed_areas_px(screen[order]) * signed_areas_px(head.texture_px[order]) > 0
    order = np.concatenate([order[~fronts], order[fronts]])
    map_x, map_y, _ = dense_map(screen, head.texture_px, order, camera.side_px)
    picture = cv2.remap(head.texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    picture = np.asarray(picture, np.uint8)
    origin = (camera.position_cm - placement.position_cm) @ placement.rotation
    _draw_mouth(picture, screen, vertices, placement, origin, camera)
    direction = direction_from_gaze(gaze_rad)
    for side in range(2):
        _draw_eye(picture, rig, side, screen, placement, origin, direction, camera)
    return picture


def _draw_eye(
    picture: NDArray[np.uint8],
    rig: FaceRig,
    side: int,
    screen: NDArray[np.float64],
    placement: Placement,
    origin_cm: NDArray[np.float64],
    direction: NDArray[np.float64],
    camera: Camera,
) -> None:
    """Paint one eyeball into its lid opening, then the lash line over it."""
    import cv2

    upper, lower, _ = EYELIDS[side]
    opening = _opening(screen[closed_loop(upper, lower)], camera.side_px)
    if opening is not None:
        pixels, share = opening
        rays = camera.ray(pixels) @ placement.rotation
        pixel_cm = (origin_cm[2] - rig.head.eyeballs_cm[side, 2]) / camera.focal_px
        colour = paint_eyeball(
            origin_cm, rays, rig.head.eyeballs_cm[side], direction, rig.head.iris_colour, 0.92, pixel_cm
        )
        # The upper lid and its lashes cast a shadow on the eyeball.
        lid_y = np.interp(pixels[:, 0], *_rising(screen[list(upper)]))
        below_cm = (pixels[:, 1] - lid_y) * pixel_cm
        colour *= (1 - 0.5 * np.exp(-np.maximum(below_cm, 0.0) / 0.15))[:, None]
        _blend(picture, pixels, share, colour)
    line = screen[list(upper)]
    thickness = max(1, round(camera.side_px / 300))
    low = np.maximum(np.floor(line.min(axis=0)).astype(int) - thickness - 2, 0)
    high = np.minimum(np.ceil(line.max(axis=0)).astype(int) + thickness + 3, camera.side_px)
    width, height = high - low
    if width <= 0 or height <= 0:
        return
    layer = np.zeros((height, width), np.uint8)
    places = np.rint((line - low) * (1 << MASK_BITS)).astype(np.int32)
    cv2.polylines(layer, [places], False, (255,), thickness, cv2.LINE_AA, MASK_BITS)
    rows, columns = np.nonzero(layer)
    share = layer[rows, columns] / 255 * LASH_SHARE
    _blend(picture, np.column_stack([columns, rows]) + low, share, np.array([[30.0, 20.0, 18.0]]))


def _draw_mouth(
    picture: NDArray[np.uint8],
    screen: NDArray[np.float64],
    vertices: NDArray[np.float64],
    placement: Placement,
    origin_cm: NDArray[np.float64],
    camera: Camera,
) -> None:
    opening = _opening(screen[closed_loop(UPPER_INNER_LIP, LOWER_INNER_LIP)], camera.side_px)
    if opening is None:
        return
    pixels, share = opening
    rays = camera.ray(pixels) @ placement.rotation
    _blend(picture, pixels, share, paint_mouth(origin_cm, rays, vertices))


def _rising(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x and y of a row of points, sorted by x for np.interp."""
    order = np.argsort(points[:, 0], kind="stable")
    return points[order, 0], points[order, 1]


def _opening(
    polygon_px: NDArray[np.float64], side_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Pixels [N, 2] inside a polygon and their coverage [N] 0..1; None if it is empty."""
    import cv2

    low = np.maximum(np.floor(polygon_px.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(polygon_px.max(axis=0)).astype(int) + 3, side_px)
    width, height = high - low
    if width <= 0 or height <= 0:
        return None
    finer = 4  # supersampling: lids are a few pixels high
    mask = np.zeros((height * finer, width * finer), np.uint8)
    inside = (polygon_px - low + 0.5) * finer - 0.5
    cv2.fillPoly(mask, [np.rint(inside * (1 << MASK_BITS)).astype(np.int32)], (255,), cv2.LINE_8, MASK_BITS)
    share = cv2.resize(mask, (int(width), int(height)), interpolation=cv2.INTER_AREA) / 255
    rows, columns = np.nonzero(share)
    if not len(rows):
        return None
    return np.column_stack([columns, rows]) + low.astype(np.float64), share[rows, columns]


def _blend(
    picture: NDArray[np.uint8],
    pixels: NDArray[np.float64] | NDArray[np.intp],
    share: NDArray[np.float64],
    colour: NDArray[np.float64],
) -> None:
    """Blend colours into the picture, in place."""
    columns, rows = pixels.astype(np.intp).T
    mixed = picture[rows, columns] * (1 - share[:, None]) + colour * share[:, None]
    picture[rows, columns] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
