"""The mouth's inside: dark, with the upper teeth fixed to the skull and the tongue to the jaw."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.topology import LOWER_INNER_LIP, UPPER_INNER_LIP

TEETH_BEHIND_LIPS_CM: Final = 0.7
TOOTH_WIDTH_CM: Final = 0.8
UPPER_TEETH_BELOW_LIP_CM: Final = 0.32
CAVITY: Final = np.array([52.0, 18.0, 18.0])
TONGUE: Final = np.array([142.0, 66.0, 62.0])
TEETH: Final = np.array([214.0, 204.0, 190.0])


def paint_mouth(
    origin_cm: NDArray[np.float64], rays: NDArray[np.float64], vertices_cm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Colours behind the lips along rays, [N, 3] RGB 0..255; all in head coordinates.

    Args:
        origin_cm: [3] the camera.
        rays: [N, 3] lines of sight.
        vertices_cm: [V, 3] the moved face.
    """
    upper, lower = vertices_cm[UPPER_INNER_LIP[5]], vertices_cm[LOWER_INNER_LIP[5]]
    depth = upper[2] - TEETH_BEHIND_LIPS_CM
    hit = origin_cm + rays * ((depth - origin_cm[2]) / rays[:, 2])[:, None]
    across = hit[:, 0] / 2.2
    # The teeth's arch curves back: seen from the front the row's lower edge rises to the sides.
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
