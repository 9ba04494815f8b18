"""A person's head: its neutral 3-D shape, the rings round it, and its texture.

The mesh covers the whole picture: the face's triangles in the middle, then rings from the face's
outline over hair, ears, neck and shoulders to the picture's border. A ring vertex moves with the
head by its `follow` weight, from 1 at the face to 0 at the border. So the map from mesh to picture is
continuous, and its border does not move.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.mixing import Layout, mix_textures
from demo_corpus.portraits import Portrait
from demo_corpus.rendering.camera import FIELD_CM, HEAD_REST_CM, Camera
from demo_corpus.rendering.look import Look
from demo_corpus.rendering.texture import TEXTURE_SIDE_PX, frontal_texture
from demo_corpus.rendering.topology import (
    FACE_VERTICES,
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    NOSE,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
    face_triangles,
)
from preprocessing.faces.shape.frame_of_reference import angles_from_rotation, rotation_from_angles
from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.faces.shape.landmark_groups import FACE_OVAL
from preprocessing.faces.shape.mean_face import MeanFace, load_mean_face

RINGS: Final = 9
RING_STEPS: Final = (0.035, 0.08, 0.13, 0.2, 0.28, 0.37, 0.48, 0.65, 1.0)  # oval 0 .. border 1
SKULL_DEPTH_CM: Final = -8.5  # depth of the head's silhouette behind the eyeballs
BORDER_OVER_FIELD: Final = 0.72  # half side of the mesh's border / FIELD_CM: outside the picture
NECK_DEPTH_CM: Final = -4.0  # depth of the throat's front


@dataclass(frozen=True)
class Head:
    """A neutral head. V = 468 face vertices + ring vertices."""

    vertices_cm: NDArray[np.float64] = field(repr=False)  # [V, 3] head coordinates, lids open, lips shut
    follow: NDArray[np.float64] = field(repr=False)  # [V] 1 moves with the head .. 0 does not move
    triangles: NDArray[np.int32] = field(repr=False)  # [F, 3] rings first, outermost first
    face_triangles_from: int  # index of the first triangle of the face itself
    texture: NDArray[np.uint8] = field(repr=False)  # [TEXTURE_SIDE_PX, TEXTURE_SIDE_PX, 3] RGB
    texture_px: NDArray[np.float64] = field(repr=False)  # [V, 2]
    eyeballs_cm: NDArray[np.float64] = field(repr=False)  # [2, 3] centres, image-left first
    iris_colour: tuple[int, int, int]


def build_head(portraits: Sequence[Portrait], look: Look) -> Head:
    """The head of one person.

    Args:
        portraits: the photos that give texture and rough proportions; the first gives hair and shoulders.
        look: of the person, drawn for as many photos.
    """
    mean_face = load_mean_face()
    fits = [
        fit_similarity(mean_face.vertices_cm[:FACE_VERTICES], portrait_points(photo)) for photo in portraits
    ]
    unrotated = [
        (portrait_points(photo) - offset) @ rotation / scale
        for photo, (rotation, scale, offset) in zip(portraits, fits, strict=True)
    ]
    shares = np.exp(look.region_weights).mean(axis=1)
    shape, eyeballs = person_shape(
        mean_face, np.tensordot(shares / shares.sum(), np.stack(unrotated), axes=1), look.reshape
    )
    vertices, follow, ring_triangles = add_rings(shape, FACE_OVAL)
    triangles = np.concatenate([ring_triangles, face_triangles()])
    texture_px = Camera(TEXTURE_SIDE_PX).project(vertices + HEAD_REST_CM)
    textures = []
    for photo, (rotation, scale, offset) in zip(portraits, fits, strict=True):
        places = portrait_places(vertices, follow, photo, rotation, scale, offset)
        yaw = float(angles_from_rotation(rotation)[1])
        textures.append(frontal_texture(photo, places, texture_px, triangles, yaw))
    texture = mix_textures(textures, look, Layout(vertices, texture_px, triangles))
    return Head(
        vertices_cm=vertices,
        follow=follow,
        triangles=triangles,
        face_triangles_from=len(ring_triangles),
        texture=np.ascontiguousarray(texture[:, ::-1]) if look.mirrored else texture,
        texture_px=texture_px,
        eyeballs_cm=eyeballs,
        iris_colour=look.iris_colour,
    )


def portrait_places(
    vertices_cm: NDArray[np.float64],
    follow: NDArray[np.float64],
    portrait: Portrait,
    rotation: NDArray[np.float64],
    scale: float,
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[V, 2] px of each vertex in the portrait: landmarks for the face, the fitted pose for the rings."""
    roll = float(angles_from_rotation(rotation)[2])
    rolled = rotation_from_angles(np.array([0.0, 0.0, roll]))
    turned = (scale * vertices_cm @ rotation.T + offset)[:, :2]
    upright = (scale * vertices_cm @ rolled.T + offset)[:, :2]
    places = (turned * follow[:, None] + upright * (1 - follow[:, None])) * np.array([1.0, -1.0])
    places[:FACE_VERTICES] = portrait.landmarks_px[:FACE_VERTICES, :2]
    return places


def portrait_points(portrait: Portrait) -> NDArray[np.float64]:
    """The portrait's 468 mesh points, y up and z towards the camera, in pixels."""
    return portrait.landmarks_px[:FACE_VERTICES] * np.array([1.0, -1.0, -1.0])


def person_shape(
    mean_face: MeanFace, unrotated_cm: NDArray[np.float64], reshape: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The person's neutral face [468, 3] and eyeball centres [2, 3], in head coordinates.

    The mean face, deformed smoothly to the photos' proportions: only differences that vary over
    centimetres are used, since a photo's smile, half-shut lids and tracked depth must not become
    part of the neutral shape. Then the drawn re-shaping of a few percent is applied.
    """
    mean_cm, mirror = mean_face.vertices_cm[:FACE_VERTICES], mean_face.mirror[:FACE_VERTICES]
    symmetric = (unrotated_cm + unrotated_cm[mirror] * np.array([-1.0, 1.0, 1.0])) / 2
    points = np.concatenate([mean_cm, mean_face.eyeball_centres_cm])
    distance = np.linalg.norm(points[:, None, :2] - mean_cm[None, :, :2], axis=2)
    kernel = np.exp(-0.5 * (distance / 2.2) ** 2)
    smooth = kernel @ (symmetric - mean_cm) / kernel.sum(axis=1, keepdims=True)
    shape = reshape_face(points + smooth * np.array([0.8, 0.8, 0.3]), reshape)
    # Head coordinates of a person: rotated to fit its face to the mean face, with the origin
    # between its eyeballs.
    shape = shape @ fit_similarity(shape[:FACE_VERTICES], mean_cm).rotation.T
    shape -= shape[FACE_VERTICES:].mean(axis=0)
    return close_lips(shape[:FACE_VERTICES]), shape[FACE_VERTICES:]


def reshape_face(shape: NDArray[np.float64], reshape: NDArray[np.float64]) -> NDArray[np.float64]:
    """A few percent of width, height, depth, jaw and nose, smooth over the face and symmetric."""
    width, height, depth, jaw, nose = reshape
    result = shape * np.array([1 + width, 1 + height, 1 + depth])
    below = np.clip(-shape[:, 1] / 8.0, 0.0, 1.0)
    result[:, 0] *= 1 + jaw * below
    result[:, 1] *= 1 + jaw * below * 0.6
    tip = shape[list(NOSE)].mean(axis=0)
    near = np.exp(-0.5 * (np.linalg.norm(shape[:, :2] - tip[:2], axis=1) / 1.3) ** 2)
    result[:, 2] += nose * near * 3.0
    return result


def close_lips(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring the inner lips together; the outer lips follow by half."""
    closed = shape.copy()
    for upper, lower, upper_out, lower_out in zip(
        UPPER_INNER_LIP, LOWER_INNER_LIP, UPPER_OUTER_LIP, LOWER_OUTER_LIP, strict=True
    ):
        middle = (shape[upper] + shape[lower]) / 2
        closed[upper_out] += (middle - shape[upper]) * 0.5 * (upper != lower)
        closed[lower_out] += (middle - shape[lower]) * 0.5 * (upper != lower)
        closed[upper] = closed[lower] = middle
    return closed


def add_rings(
    face_cm: NDArray[np.float64], oval: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Face vertices and ring vertices, their `follow` weights, and the rings' triangles."""
    outline = face_cm[list(oval)]
    half = FIELD_CM * BORDER_OVER_FIELD
    centre = np.array([0.0, -1.5])
    ray = outline[:, :2] - centre
    rest = HEAD_REST_CM[:2]
    border = np.stack(
        [_to_border(point + rest, way, half) for point, way in zip(outline[:, :2], ray, strict=True)]
    )
    border -= rest
    upward = ray[:, 1] / np.linalg.norm(ray, axis=1)  # 1 above the head .. -1 below the chin
    rings, weights = [face_cm], [np.ones(len(face_cm))]
    for step in RING_STEPS:
        flat = outline[:, :2] * (1 - step) + border * step
        distance = np.linalg.norm(flat - outline[:, :2], axis=1)
        # The skull curves back like an ellipse: slowly above the forehead, steeply behind the jaw.
        curve = np.clip(distance / np.interp(upward, [-0.3, 0.6], [1.5, 5.0]), 0.0, 1.0)
        behind = np.interp(upward, [-0.8, -0.2], [NECK_DEPTH_CM, SKULL_DEPTH_CM])
        depth = outline[:, 2] + (behind - outline[:, 2]) * (1 - np.sqrt(1 - curve**2))
        # Hair and ears are rigid for about 4 cm; the neck deforms within that distance.
        rigid = np.interp(upward, [-0.95, -0.5, 0.2], [0.0, 1.5, 3.2])
        reach = np.interp(upward, [-0.9, -0.3, 0.5], [9.0, 8.0, 7.0])
        weight = 1 - _smooth_step((distance - rigid) / reach)
        rings.append(np.column_stack([flat, depth]))
        weights.append(weight if step < 1 else np.zeros(len(oval)))
    return np.concatenate(rings), np.concatenate(weights), _ring_triangles(oval, len(face_cm))


def _to_border(point: NDArray[np.float64], way: NDArray[np.float64], half: float) -> NDArray[np.float64]:
    """Where a ray from `point` leaves the square of half side `half` around the picture's centre."""
    moving = np.abs(way) > 1e-9
    reach = (np.where(way > 0, half, -half) - point)[moving] / way[moving]
    return point + way * reach.min()


def _smooth_step(value: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.clip(value, 0.0, 1.0)
    return value * value * (3 - 2 * value)


def _ring_triangles(oval: tuple[int, ...], first: int) -> NDArray[np.int32]:
    """[F, 3] triangles between the outline and the rings, outermost ring first."""
    count = len(oval)
    rows = [list(oval)] + [
        list(range(first + count * ring, first + count * (ring + 1))) for ring in range(RINGS)
    ]
    triangles = []
    for inner, outer in reversed(list(pairwise(rows))):
        for this in range(count):
            following = (this + 1) % count
            triangles.append((inner[this], outer[this], outer[following]))
            triangles.append((inner[this], outer[following], inner[following]))
    return np.asarray(triangles, np.int32)
