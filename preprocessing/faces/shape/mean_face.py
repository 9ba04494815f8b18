"""The mean face: 478 vertices in centimetres, in head coordinates, and its two eyeballs.

`scripts/derive_mean_face.py` derives the table `mean_face_478.csv` from the face mesh's landmarks
of many faces; each person has the same weight. It is exactly symmetric: a vertex and its mirror
vertex have opposite x and equal y and z.

Head coordinates (`preprocessing.faces.shape.frame_of_reference`): x to the image's right, y up, z towards the
camera, origin midway between the two eyeball centres. Zero pitch is Deep3DFaceRecon's: eye
centres, nose tip and mouth corners are rotated to its five model points with the least squares,
so that the labels of both labellers share the frame. The scale makes the iris 1.17 cm wide.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import LANDMARK_COUNT

TABLE_PATH: Final = Path(__file__).with_name("mean_face_478.csv")

# Horizontal visible iris diameter: 11.7 mm on average, spread 0.4 mm (Rüfer, Schröder & Erb 2005,
# white-to-white in 743 eyes); of all lengths in a face it differs least between adults.
IRIS_DIAMETER_CM: Final = 1.17
# The eyeball turns about a point 1.35 cm behind the front of the cornea (the usual figure of
# ophthalmic optics for a normal-sighted eye, 13.5 mm); the iris's edge as a camera sees it lies
# 0.3 cm behind the front of the cornea (anterior chamber 3 mm deep; refraction lifts it a little).
# So the iris's centre moves on a sphere of 1.05 cm.
EYEBALL_IRIS_RADIUS_CM: Final = 1.05
EYEBALL_RADIUS_CM: Final = 1.2  # sclera; half of the 24 mm axial length of an adult's eye


@dataclass(frozen=True)
class MeanFace:
    """A face in head coordinates."""

    vertices_cm: NDArray[np.float64] = field(repr=False)  # [478, 3]
    mirror: NDArray[np.int64] = field(repr=False)  # [478] index of each vertex's mirror vertex
    eyeball_centres_cm: NDArray[np.float64] = field(repr=False)  # [2, 3] image-left, image-right


@cache
def load_mean_face() -> MeanFace:
    """Read the committed table. The arrays are read-only, since all callers share them.

    Raises:
        ValueError: the table does not hold 478 vertices and two eyeball centres.
    """
    table = np.loadtxt(TABLE_PATH, delimiter=",", comments="#")
    if table.shape != (LANDMARK_COUNT + 2, 5):
        raise ValueError(f"{TABLE_PATH.name} holds {list(table.shape)}, need [{LANDMARK_COUNT + 2}, 5]")
    vertices, eyeballs = table[:LANDMARK_COUNT, 1:4].copy(), table[LANDMARK_COUNT:, 1:4].copy()
    mirror = table[:LANDMARK_COUNT, 4].astype(np.int64)
    for array in (vertices, eyeballs, mirror):
        array.setflags(write=False)
    return MeanFace(vertices, mirror, eyeballs)
