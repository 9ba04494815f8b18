"""The look of a person, drawn from a seed: how the photos are mixed, colours, light and backdrop."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

REGIONS: Final = ("forehead", "eyes", "nose", "cheeks", "mouth", "chin")
REGION_PREFERENCE: Final = 2.0  # standard deviation of the log weights of a photo in a region
# CIELAB colours (L 0..100, a, b). Skin runs along the row; the others are picked.
SKIN_TONES: Final = np.array([(78.0, 11.0, 15.0), (70.0, 15.0, 20.0), (57.0, 17.0, 24.0), (45.0, 16.0, 20.0)])
HAIR_COLOURS: Final = np.array(
    [(14.0, 2, 3), (24.0, 6, 9), (36.0, 9, 15), (36.0, 20, 22), (62.0, 7, 28), (62.0, 0, 3)]
)
IRIS_COLOURS: Final = np.array(
    [(94, 62, 36), (112, 78, 44), (86, 104, 118), (96, 120, 138), (92, 100, 66), (70, 48, 32)]
)
SHAPE_SPREAD: Final = np.array([0.04, 0.04, 0.06, 0.06, 0.08])  # width, height, depth, jaw, nose
SHAPE_LIMIT: Final = 0.11
IRIS_SPREAD: Final = 9.0  # standard deviation of each channel of the iris' colour


@dataclass(frozen=True)
class Look:
    """What makes a person of photos; P photos, the first of them gives hair, neck and shoulders."""

    region_weights: NDArray[np.float64] = field(repr=False)  # [P, len(REGIONS)] log weights
    mirrored: bool
    reshape: NDArray[np.float64] = field(repr=False)  # [5] relative width, height, depth, jaw, nose
    skin: NDArray[np.float64] = field(repr=False)  # [3] CIELAB
    hair: NDArray[np.float64] = field(repr=False)  # [3] CIELAB
    clothes: NDArray[np.float64] = field(repr=False)  # [3] CIELAB
    backdrop: NDArray[np.float64] = field(repr=False)  # [2, 3] CIELAB, the gradient's two ends
    backdrop_seed: int
    iris_colour: tuple[int, int, int]
    light: NDArray[np.float64] = field(repr=False)  # [3] unit vector towards the light, head coordinates
    light_strength: float  # 0 even .. 1 as a lone lamp
    warmth: float  # -1 bluish .. 1 reddish light
    lip_share: float  # of natural lip colour, 0..1


def draw_look(seed: int, photo_count: int) -> Look:
    """The look of a person made of `photo_count` photos."""
    rng = np.random.default_rng(seed)
    iris = rng.choice(IRIS_COLOURS) + rng.normal(0, IRIS_SPREAD, 3)
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = [np.interp(tone, np.arange(len(SKIN_TONES)), SKIN_TONES[:, channel]) for channel in range(3)]
    azimuth, height = rng.uniform(-1.2, 1.2), rng.uniform(-0.1, 0.9)
    light = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    return Look(
        region_weights=rng.normal(0, REGION_PREFERENCE, (photo_count, len(REGIONS))),
        mirrored=bool(rng.integers(2)),
        reshape=rng.normal(0, SHAPE_SPREAD).clip(-SHAPE_LIMIT, SHAPE_LIMIT),
        skin=np.array(skin) + rng.normal(0, [2.0, 1.5, 2.0]),
        hair=rng.choice(HAIR_COLOURS) + rng.normal(0, [4.0, 2.0, 3.0]),
        clothes=_any_colour(rng, (15.0, 80.0), 40.0),
        backdrop=np.stack([_any_colour(rng, (15.0, 90.0), 28.0), _any_colour(rng, (15.0, 90.0), 28.0)]),
        backdrop_seed=int(rng.integers(2**31)),
        iris_colour=(int(iris[0].clip(0)), int(iris[1].clip(0)), int(iris[2].clip(0))),
        light=np.array(light),
        light_strength=rng.uniform(0.1, 0.45),
        warmth=rng.uniform(-1, 1),
        lip_share=rng.uniform(0.15, 0.55),
    )


def _any_colour(
    rng: np.random.Generator, lightness: tuple[float, float], chroma: float
) -> NDArray[np.float64]:
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0, chroma)
    return np.array([rng.uniform(*lightness), radius * np.cos(angle), radius * np.sin(angle)])
