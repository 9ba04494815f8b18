"""A person's texture, mixed from the frontal textures of several photos in one layout.

The face is mixed region by region with smooth weights, after its colour was set to the person's skin tone
and half-way to even light. Hair, neck and shoulders are those of the first photo, recoloured, before a
drawn backdrop. The light is baked in by the mesh's normals.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.rendering.look import REGIONS, Look
from demo_corpus.rendering.raster import dense_map
from demo_corpus.rendering.texture import PX_PER_CM, TEXTURE_SIDE_PX, soft_inside
from demo_corpus.rendering.topology import (
    BROWS,
    LOWER_OUTER_LIP,
    UPPER_OUTER_LIP,
    closed_loop,
)
from preprocessing.faces.shape.landmark_groups import FACE_OVAL, IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE

REGION_POINTS: Final[dict[str, tuple[int, ...]]] = {
    "forehead": (151, 104, 333),
    "eyes": (159, 386, 168),
    "nose": (4,),
    "cheeks": (50, 280),
    "mouth": (13,),
    "chin": (152,),
}
assert tuple(REGION_POINTS) == REGIONS
REGION_CM: Final = 1.1  # standard deviation of a region's weight around its points
COARSE: Final = 8  # weights and light vary slowly: computed at a fraction of the texture's size
EVEN_LIGHT: Final = 0.6  # share of a photo's own light that is taken away
LARGEST_LIGHT_CHANGE: Final = 15.0  # of lightness
EVEN_LIGHT_CM: Final = 2.2  # standard deviation of what counts as light
HEAD_OVER_FACE: Final = 1.27  # width with hair: beside it, above the shoulders, are others of the photo
HEAD_ABOVE_BROW_CM: Final = 13.0
SKIN_REACH: Final = np.array([26.0, 9.0, 11.0])  # CIELAB differences at which a colour is hardly skin
SKIN_CONTRAST: Final = 0.13  # standard deviation of the skin's lightness over its mean
CONTRAST_GAINS: Final = (0.55, 1.15)
HIGHLIGHT: Final = 82.0  # lightness above which highlights are compressed
FOREHEAD: Final = 1.3  # size of the outline over the mesh's, within which the forehead may reach
FOREHEAD_REACH: Final = 1.6  # times SKIN_REACH: on the forehead only what is far from skin is hair
LARGEST_HAIR_SHIFT: Final = 32.0  # of lightness
HAIR_CONTRAST: Final = np.array([0.85, 0.5, 0.5])
CLOTHES_CONTRAST: Final = np.array([0.9, 0.4, 0.4])
LIPS_OVER_SKIN: Final = np.array([-9.0, 15.0, 2.0])  # CIELAB
SHADE_LIMITS: Final = (0.55, 1.18)
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """The texture's layout: the person's neutral mesh and its place in the texture."""

    vertices_cm: NDArray[np.float64] = field(repr=False)  # [V, 3]
    texture_px: NDArray[np.float64] = field(repr=False)  # [V, 2]
    triangles: NDArray[np.int32] = field(repr=False)  # [F, 3]


def mix_textures(textures: list[NDArray[np.uint8]], look: Look, layout: Layout) -> NDArray[np.uint8]:
    """The person's texture, [side, side, 3] RGB.

    Args:
        textures: [side, side, 4] of each photo: RGB and the mask of people, in the person's layout.
        look: of the person.
        layout: of the texture.
    """
    area = _skin_area(layout)
    oval = soft_inside(_outline(layout), 0.3)
    labs = [_to_lab(texture[..., :3]) for texture in textures]
    skins = [_skin_mask(lab, area) for lab in labs]
    tinted = [_set_skin(lab, skin, look.skin) for lab, skin in zip(labs, skins, strict=True)]
    even = [_even_light(lab, skin) for lab, skin in zip(tinted, skins, strict=True)]
    face = _mix_faces(even, look, layout)
    person = face * oval + tinted[0] * (1 - oval)
    person = _colour_lips(person, look, layout)
    mask = _own_mask(textures[0][..., 3], layout)
    person = _recolour(person, mask, look, layout)
    person[..., 0] *= _shade(look, layout)
    whole = person * mask + _backdrop(look) * (1 - mask)
    rgb = _to_rgb(whole)
    tint = 1 + 0.06 * look.warmth * np.array([1.0, 0.1, -1.0], np.float32)
    return np.asarray(np.rint((rgb * tint).clip(0, 255)), np.uint8)


def _outline(layout: Layout) -> NDArray[np.float64]:
    return layout.texture_px[list(FACE_OVAL)]


def _skin_mask(lab: Picture, area: Picture) -> Picture:
    """[side, side, 1] the skin of one photo: without the fringe, glasses or deep shadows in the area."""
    away = np.asarray((((lab - _mean(lab, area)) / SKIN_REACH) ** 2).sum(axis=2, keepdims=True), np.float32)
    return np.asarray(area * np.exp(-0.5 * away), np.float32)


def _skin_area(layout: Layout) -> Picture:
    """[side, side, 1] 1 where a face has skin, 0 on eyes, brows, lips and outside."""
    points = layout.texture_px
    mask = soft_inside(_outline(layout), 0.5)
    left, right = BROWS[: len(BROWS) // 2], BROWS[len(BROWS) // 2 :]
    for feature in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE, left, right):
        mask = mask * (1 - soft_inside(_hull(points[list(feature)]), 0.3))
    return mask * (1 - soft_inside(points[closed_loop(UPPER_OUTER_LIP, LOWER_OUTER_LIP)], 0.2))


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    import cv2

    return np.asarray(cv2.convexHull(points.astype(np.float32)), np.float64)[:, 0]


def _mean(lab: Picture, weight: Picture) -> Picture:
    """[3] weighted mean colour."""
    return np.asarray((lab * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6), np.float32)


def _set_skin(lab: Picture, skin: Picture, tone: NDArray[np.float64]) -> Picture:
    """Move the whole photo's colours so that the face's mean is `tone`, without clipped highlights."""
    mean = _mean(lab, skin)
    contrast = float(np.sqrt(_mean((lab - mean) ** 2, skin)[0]))
    gain = np.array([np.clip(SKIN_CONTRAST * tone[0] / contrast, *CONTRAST_GAINS), 1.0, 1.0], np.float32)
    moved = np.asarray((lab - mean) * gain + tone, np.float32)
    above = np.maximum(moved[..., 0] - HIGHLIGHT, 0)
    room = 100 - HIGHLIGHT
    moved[..., 0] = np.minimum(moved[..., 0], HIGHLIGHT) + room * (1 - np.exp(-above / room))
    return moved


def _even_light(lab: Picture, skin: Picture) -> Picture:
    """Take away a share of the light that the photo was taken in."""
    import cv2

    spread = (0, 0), EVEN_LIGHT_CM * PX_PER_CM / COARSE
    coarse = (TEXTURE_SIDE_PX // COARSE, TEXTURE_SIDE_PX // COARSE)
    weight = cv2.GaussianBlur(cv2.resize(skin[..., 0], coarse, interpolation=cv2.INTER_AREA), *spread)
    light = cv2.resize(lab[..., 0] * skin[..., 0], coarse, interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(light, *spread) / np.maximum(weight, 0.02)
    mean = float(_mean(lab, skin)[0])
    change = (light - mean).clip(-LARGEST_LIGHT_CHANGE, LARGEST_LIGHT_CHANGE) * np.clip(weight / 0.2, 0, 1)
    result = lab.copy()
    result[..., 0] -= EVEN_LIGHT * cv2.resize(change, (TEXTURE_SIDE_PX, TEXTURE_SIDE_PX))
    return result


def _mix_faces(faces: list[Picture], look: Look, layout: Layout) -> Picture:
    """The faces mixed with weights that vary smoothly between the regions."""
    import cv2

    side = TEXTURE_SIDE_PX // COARSE
    rows, columns = np.mgrid[:side, :side] * COARSE + (COARSE - 1) / 2
    near = []
    for points in REGION_POINTS.values():
        places = layout.texture_px[list(points)]
        squared = [(columns - x) ** 2 + (rows - y) ** 2 for x, y in places]
        near.append(-0.5 * np.min(squared, axis=0) / (REGION_CM * PX_PER_CM) ** 2)
    weights = _softmax(np.tensordot(look.region_weights, _softmax(np.stack(near)), axes=1))
    mixed = np.zeros_like(faces[0])
    for face, weight in zip(faces, weights.astype(np.float32), strict=True):
        mixed += face * cv2.resize(weight, (TEXTURE_SIDE_PX, TEXTURE_SIDE_PX))[..., None]
    return mixed


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(values - values.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), np.float64)


def _colour_lips(lab: Picture, look: Look, layout: Layout) -> Picture:
    lips = soft_inside(layout.texture_px[closed_loop(UPPER_OUTER_LIP, LOWER_OUTER_LIP)], 0.1)
    return np.asarray(lab + lips * look.lip_share * (look.skin + LIPS_OVER_SKIN - lab), np.float32)


def _own_mask(people: NDArray[np.uint8], layout: Layout) -> Picture:
    """[side, side, 1] the person itself: neighbours beside the head are background, the face never is."""
    import cv2

    points = layout.texture_px / PX_PER_CM
    rows = np.arange(TEXTURE_SIDE_PX, dtype=np.float32)[:, None] / PX_PER_CM
    columns = np.arange(TEXTURE_SIDE_PX, dtype=np.float32)[None, :] / PX_PER_CM
    aside = np.abs(columns - points[[234, 454], 0].mean())
    half_width = HEAD_OVER_FACE * (points[454, 0] - points[234, 0]) / 2
    # An ellipse over the brows, straight down to the chin, then the widening shoulders.
    up = np.clip((points[9, 1] - 1.0 - rows) / (HEAD_ABOVE_BROW_CM - 1.0), 0, 1)
    limit = half_width * np.sqrt(1 - up**2) + 2.2 * np.maximum(rows - points[152, 1] - 1.0, 0)
    own = np.clip((limit - aside) / 1.2 + 0.5, 0, 1)
    sharp = np.clip((people.astype(np.float32) / 255 - 0.4) / 0.4, 0, 1) * own
    sharp = cv2.GaussianBlur(sharp.astype(np.float32), (0, 0), 1.5)
    return np.maximum(sharp[..., None], soft_inside(_outline(layout), 0.2)).astype(np.float32)


def _recolour(lab: Picture, mask: Picture, look: Look, layout: Layout) -> Picture:
    """Give hair and clothes the person's colours. What resembles the skin keeps its colour."""
    apart = np.asarray((lab - look.skin) / SKIN_REACH, np.float32)
    apart[..., 0] = np.minimum(apart[..., 0], 0)  # lighter than the skin: shine on it
    away = np.asarray((apart**2).sum(axis=2, keepdims=True), np.float32)
    other = 1 - np.exp(-0.5 * away)
    hairy = (1 - np.exp(-0.5 * away / FOREHEAD_REACH**2)) ** 2
    outline = _outline(layout)
    rows = np.arange(TEXTURE_SIDE_PX, dtype=np.float32)[:, None, None] / PX_PER_CM
    chin, brow = (float(layout.texture_px[vertex, 1]) / PX_PER_CM for vertex in (152, 9))
    face = soft_inside(outline, 0.3)
    low = np.clip((rows - chin) / 2.5 - 0.2, 0, 1)
    beside = 1 - soft_inside(outline.mean(axis=0) + FOREHEAD * (outline - outline.mean(axis=0)), 0.8)
    fringe = face * np.clip((brow - 1.3 - rows) / 0.8, 0, 1)
    # Above the chin and clear of the forehead everything is hair, also what has the skin's colour.
    hair = mask * np.maximum((1 - face) * (1 - low) * np.maximum(hairy, beside), fringe * hairy)
    clothes = mask * (1 - face) * low * other
    lightness = float(_mean(lab, hair)[0])
    tone = look.hair.copy()
    tone[0] = lightness + np.clip(tone[0] - lightness, -LARGEST_HAIR_SHIFT, LARGEST_HAIR_SHIFT)
    lab = _move_colours(lab, hair, tone, HAIR_CONTRAST)
    return _move_colours(lab, clothes, look.clothes, CLOTHES_CONTRAST)


def _move_colours(
    lab: Picture, weight: Picture, mean: NDArray[np.float64], contrast: NDArray[np.float64]
) -> Picture:
    """Set the mean of the weighted part, and scale its differences from the mean."""
    now = _mean(lab, weight)
    return np.asarray(lab + weight * ((lab - now) * (contrast - 1) + mean - now), np.float32)


def _shade(look: Look, layout: Layout) -> Picture:
    """[side, side] factor of lightness by the mesh's normals; 1 on what faces the front."""
    import cv2

    corners = layout.vertices_cm[layout.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces *= np.where(faces[:, 2:] < 0, -1, 1)
    normals = np.zeros_like(layout.vertices_cm)
    for corner in range(3):
        np.add.at(normals, layout.triangles[:, corner], faces)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    shade = 1 + look.light_strength * (normals @ look.light - look.light[2])
    values = np.column_stack([shade.clip(*SHADE_LIMITS), np.zeros(len(shade))])
    map_x, _, _ = dense_map(layout.texture_px, values, layout.triangles, TEXTURE_SIDE_PX)
    return np.asarray(cv2.GaussianBlur(map_x, (0, 0), 0.25 * PX_PER_CM), np.float32)


def _backdrop(look: Look) -> Picture:
    """[side, side, 3] CIELAB: a gradient in some direction, with blurred noise on two scales."""
    import cv2

    rng = np.random.default_rng(look.backdrop_seed)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:TEXTURE_SIDE_PX, :TEXTURE_SIDE_PX].astype(np.float32) / TEXTURE_SIDE_PX - 0.5
    share = (np.cos(angle) * columns + np.sin(angle) * rows) * rng.uniform(0.3, 1.5) + 0.5
    size = (TEXTURE_SIDE_PX, TEXTURE_SIDE_PX)
    for cells in (4, 11):
        noise = rng.normal(0, rng.uniform(0.0, 0.22), (cells, cells)).astype(np.float32)
        share += cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    mix = share.clip(0, 1)[..., None]
    return np.asarray(look.backdrop[0] * (1 - mix) + look.backdrop[1] * mix, np.float32)


def _to_lab(rgb: NDArray[np.uint8]) -> Picture:
    import cv2

    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _to_rgb(lab: Picture) -> Picture:
    import cv2

    within = lab.copy()
    within[..., 0] = within[..., 0].clip(0, 100)
    return np.asarray(cv2.cvtColor(within, cv2.COLOR_LAB2RGB), np.float32) * 255
