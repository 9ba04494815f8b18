"""What shows between the lids and the lips: eyeballs, the mouth's dark inside, teeth and tongue."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.rendering.topology import LOWER_INNER_LIP, UPPER_INNER_LIP
from preprocessing.faces.shape.mean_face import EYEBALL_RADIUS_CM, IRIS_DIAMETER_CM

PUPIL_DIAMETER_CM: Final = 0.38
SCLERA: Final = np.array([228.0, 218.0, 210.0])
CORNER: Final = np.array([186.0, 128.0, 116.0])
LIGHT: Final = np.array([-0.3, 0.5, 0.81])  # direction of the key light, camera coordinates

TEETH_BEHIND_LIPS_CM: Final = 0.7
TOOTH_WIDTH_CM: Final = 0.8
UPPER_TEETH_BELOW_LIP_CM: Final = 0.32
CAVITY: Final = np.array([52.0, 18.0, 18.0])
TONGUE: Final = np.array([142.0, 66.0, 62.0])
TEETH: Final = np.array([214.0, 204.0, 190.0])


def paint_eyeball(
    origin_cm: NDArray[np.float64],
    rays: NDArray[np.float64],
    centre_cm: NDArray[np.float64],
    gaze_direction: NDArray[np.float64],
    iris_colour: tuple[int, int, int],
    brightness: float,
    pixel_cm: float,
) -> NDArray[np.float64]:
    """Colours of the eyeball along viewing rays, all in head coordinates.

    Args:
        origin_cm: [3] the camera.
        rays: [N, 3] viewing rays, any length.
        centre_cm: [3] the eyeball's centre.
        gaze_direction: [3] unit vector.
        iris_colour: RGB.
        brightness: of the surrounding skin, 0..1, which bounds that of the white.
        pixel_cm: width of a pixel at the eye, for soft edges.

    Returns:
        [N, 3] RGB 0..255.
    """
    unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    to_centre = centre_cm - origin_cm
    along = unit @ to_centre
    beside = (to_centre @ to_centre) - along**2
    depth = np.sqrt(np.maximum(EYEBALL_RADIUS_CM**2 - beside, 0.0))
    normal = (origin_cm + (along - depth)[:, None] * unit - centre_cm) / EYEBALL_RADIUS_CM
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # Distance from the gaze axis, on the sphere: the iris is the cap of IRIS_DIAMETER_CM.
    off_axis = EYEBALL_RADIUS_CM * np.sqrt(np.maximum(1 - np.clip(normal @ gaze_direction, 0, 1) ** 2, 0.0))
    off_axis = np.where(normal @ gaze_direction > 0, off_axis, EYEBALL_RADIUS_CM)
    iris = _edge(off_axis, IRIS_DIAMETER_CM / 2, pixel_cm)
    pupil = _edge(off_axis, PUPIL_DIAMETER_CM / 2, pixel_cm)
    rim = np.exp(-0.5 * ((off_axis - IRIS_DIAMETER_CM / 2) / 0.08) ** 2)
    missed = _edge(-np.sqrt(np.maximum(beside, 0.0)), -(EYEBALL_RADIUS_CM - 0.1), 0.1)
    shade = (0.62 + 0.38 * np.clip(normal[:, 2], 0, 1) ** 1.5)[:, None]
    colour = SCLERA * (1 - missed[:, None]) + CORNER * missed[:, None]
    colour = colour * shade * brightness
    tint = np.asarray(iris_colour) * (0.75 + 0.6 * off_axis / IRIS_DIAMETER_CM)[:, None]
    colour = _mix(colour, tint * (0.5 + 0.5 * brightness), iris)
    colour = _mix(colour, np.array([34.0, 26.0, 22.0]), 0.55 * rim * (off_axis < IRIS_DIAMETER_CM / 2 + 0.1))
    colour = _mix(colour, np.array([14.0, 11.0, 11.0]), pupil)
    glint = (LIGHT + np.array([0.0, 0.0, 1.0])) / np.linalg.norm(LIGHT + np.array([0.0, 0.0, 1.0]))
    shine = _edge(np.linalg.norm(normal - glint, axis=1), 0.1, 0.06)
    return _mix(colour, np.array([250.0, 250.0, 250.0]), 0.85 * shine)


def paint_mouth(
    origin_cm: NDArray[np.float64], rays: NDArray[np.float64], vertices_cm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Colours behind the lips along viewing rays, [N, 3] RGB 0..255; all in head coordinates.

    Args:
        origin_cm: [3] the camera.
        rays: [N, 3] viewing rays.
        vertices_cm: [V, 3] the moved face.
    """
    upper, lower = vertices_cm[UPPER_INNER_LIP[5]], vertices_cm[LOWER_INNER_LIP[5]]
    depth = upper[2] - TEETH_BEHIND_LIPS_CM
    hit = origin_cm + rays * ((depth - origin_cm[2]) / rays[:, 2])[:, None]
    across = hit[:, 0] / 2.2
    # The dental arch curves back: from the front, the lower edge of the row rises to the sides.
    edge = upper[1] - UPPER_TEETH_BELOW_LIP_CM + 0.25 * across**2
    teeth = np.clip((hit[:, 1] - edge) / 0.06 + 0.5, 0, 1) * np.clip((1.05 - np.abs(across)) / 0.2, 0, 1)
    gap = 1 - 0.25 * np.exp(-0.5 * (_to_nearest_gap(hit[:, 0]) / 0.04) ** 2)
    tongue_top = lower[1] + 0.45 - 0.3 * across**2
    tongue = np.clip((tongue_top - hit[:, 1]) / 0.3, 0, 1) * np.clip(1.1 - np.abs(across), 0, 1)
    colour = CAVITY * (1 - 0.9 * tongue[:, None]) + TONGUE * 0.9 * tongue[:, None]
    lit = (0.95 - 0.35 * across**2)[:, None] * gap[:, None]
    return colour * (1 - teeth[:, None]) + TEETH * lit * teeth[:, None]


def _to_nearest_gap(x_cm: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x_cm + TOOTH_WIDTH_CM / 2) % TOOTH_WIDTH_CM - TOOTH_WIDTH_CM / 2


def _edge(distance: NDArray[np.float64], limit: float, width: float) -> NDArray[np.float64]:
    """1 inside `limit`, 0 outside, soft over `width`."""
    return np.clip((limit - distance) / width + 0.5, 0.0, 1.0)


def _mix(
    below: NDArray[np.float64], above: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    return below * (1 - share[:, None]) + above * share[:, None]
