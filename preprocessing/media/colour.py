"""Pictures as 8-bit BT.709 RGB, whatever transfer and primaries a file says: HLG, PQ and BT.2020 are mapped.

Matrix and range are applied by swscale from the picture's own tags. A picture whose tags name a high dynamic
range (HLG, PQ) or the primaries BT.2020 is then made linear, scaled so that reference white (203 cd/m2,
ITU-R BT.2408) is the display's white, moved to the primaries of BT.709, compressed above a knee and
encoded for a BT.1886 display. Colours of SDR video are not touched.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from av.video.frame import VideoFrame as SourceFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

# ITU-T H.273 code points.
PQ: Final = 16
HLG: Final = 18
BT2020: Final = 9
REFERENCE_WHITE_NITS: Final = 203.0  # BT.2408: diffuse white of HDR programmes
HLG_PEAK_NITS: Final = 1000.0  # BT.2100: nominal peak, at which the system gamma is 1.2
HLG_SYSTEM_GAMMA: Final = 1.2
DISPLAY_GAMMA: Final = 2.4  # BT.1886
KNEE: Final = 0.8  # of the display's white: skin is below it
LEVELS: Final = 65_536
BT2020_LUMA: Final = np.array([0.2627, 0.6780, 0.0593])
# BT.2087: linear RGB of BT.2020 to that of BT.709.
TO_BT709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


@dataclass(frozen=True)
class Colour:
    """The tags that decide whether a picture is mapped (ITU-T H.273 code points)."""

    transfer: int
    primaries: int

    @property
    def is_mapped(self) -> bool:
        """Whether its pictures are not SDR in the primaries of BT.709."""
        return self.transfer in (PQ, HLG) or self.primaries == BT2020

    @property
    def description(self) -> str:
        """For the catalog: what it is and what is done about it; empty for ordinary SDR."""
        if not self.is_mapped:
            return ""
        transfer = {PQ: "PQ (HDR)", HLG: "HLG (HDR)"}.get(self.transfer, "SDR")
        primaries = "BT.2020" if self.primaries == BT2020 else "BT.709"
        return f"{transfer}, {primaries}, mapped to SDR BT.709"


def colour_of(frame: SourceFrame) -> Colour:
    """The tags of a decoded picture."""
    return Colour(int(frame.color_trc), int(frame.color_primaries))


def to_rgb(
    reformatter: VideoReformatter, frame: SourceFrame, width_px: int, height_px: int, threads: int
) -> NDArray[np.uint8]:
    """[height_px, width_px, 3] 8-bit RGB of a decoded picture, mapped to BT.709 where `Colour.is_mapped`."""
    colour = colour_of(frame)
    if not colour.is_mapped:
        plain = reformatter.reformat(frame, width=width_px, height=height_px, format="rgb24", threads=threads)
        return np.asarray(plain.to_ndarray(), np.uint8)
    # swscale gives other colours at 16 bits and an odd width.
    even_px = width_px + width_px % 2
    deep = reformatter.reformat(frame, width=even_px, height=height_px, format="rgb48le", threads=threads)
    mapped = map_to_bt709(np.asarray(deep.to_ndarray(), np.uint16), colour)
    if even_px == width_px:
        return mapped
    return np.asarray(cv2.resize(mapped, (width_px, height_px), interpolation=cv2.INTER_LINEAR), np.uint8)


def map_to_bt709(image: NDArray[np.uint16], colour: Colour) -> NDArray[np.uint8]:
    """Map [H, W, 3] non-linear RGB, 0 to 65535, in the file's transfer and primaries to 8-bit SDR BT.709.

    Takes about 25 ns a pixel.
    """
    linear = _linear_table(colour.transfer)[image]  # relative to the display's white
    if colour.transfer == HLG:
        luma = np.maximum(linear @ BT2020_LUMA.astype(np.float32), 1e-6)
        linear *= ((luma * np.float32(_HLG_SCALE)) ** np.float32(HLG_SYSTEM_GAMMA - 1.0))[..., None]
    if colour.primaries == BT2020:
        linear = np.asarray(cv2.transform(linear, TO_BT709))
    scaled = np.clip(linear * np.float32(_CODES_PER_WHITE), 0.0, LEVELS - 1.0).astype(np.uint16)
    return _display_table()[scaled]


# Scene light 1 of HLG is displayed at its nominal peak; luma^(gamma - 1) is taken of scene light.
_HLG_SCALE: Final = REFERENCE_WHITE_NITS / HLG_PEAK_NITS
_WHITES: Final = 10_000.0 / REFERENCE_WHITE_NITS
_CODES_PER_WHITE: Final = (LEVELS - 1) / _WHITES


@cache
def _linear_table(transfer: int) -> NDArray[np.float32]:
    """[65536] light of each non-linear value, display's white 1; of HLG before its system gamma."""
    signal = np.linspace(0.0, 1.0, LEVELS)
    if transfer == PQ:  # SMPTE ST 2084
        root = signal ** (32 / 2523)
        nits = 10_000.0 * (np.maximum(root - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * root)) ** (
            8192 / 1305
        )
        return (nits / REFERENCE_WHITE_NITS).astype(np.float32)
    if transfer == HLG:  # ARIB STD-B67
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(signal <= 0.5, signal**2 / 3.0, (np.exp((signal - c) / a) + b) / 12.0)
        return (scene / _HLG_SCALE).astype(np.float32)
    return (signal**DISPLAY_GAMMA).astype(np.float32)


@cache
def _display_table() -> NDArray[np.uint8]:
    """[65536] 8-bit value of light up to 10000 cd/m2, linear in code; compressed above the knee."""
    light = np.linspace(0.0, _WHITES, LEVELS)
    peak = HLG_PEAK_NITS / REFERENCE_WHITE_NITS
    # Above the knee a rational curve with slope 1 at the knee that reaches white at the nominal peak.
    over = np.clip(light - KNEE, 0.0, peak - KNEE) / (1.0 - KNEE)
    end = (peak - KNEE) / (1.0 - KNEE)
    compressed = KNEE + (1.0 - KNEE) * over * (1.0 + over / end**2) / (1.0 + over)
    shown = np.where(light <= KNEE, light, compressed) ** (1.0 / DISPLAY_GAMMA)
    return np.round(255.0 * np.clip(shown, 0.0, 1.0)).astype(np.uint8)
