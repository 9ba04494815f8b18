"""HDR is mapped to the SDR picture that it was made of; SDR is not touched."""

from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.media.colour import (
    BT2020,
    DISPLAY_GAMMA,
    HLG,
    PQ,
    REFERENCE_WHITE_NITS,
    TO_BT709,
    Colour,
    map_to_bt709,
)
from preprocessing.media.decoding import DecodeSettings, open_video
from tests.factories.preprocessing.media import AAC, X264, run_ffmpeg

# Skin, grey, green, dark blue: below the knee, so that only the colour space changes.
COLOURS = np.array([[190, 140, 115], [128, 128, 128], [60, 150, 70], [30, 40, 90]], np.float64)


def to_hdr(colours: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """8-bit BT.709 colours [N, 3] as BT.2020 signals in 0 to 1, reference white at 203 cd/m2."""
    light = (colours / 255) ** DISPLAY_GAMMA @ np.linalg.inv(TO_BT709.astype(np.float64)).T
    nits = light * REFERENCE_WHITE_NITS
    if transfer == PQ:
        power = (nits / 10_000) ** (1305 / 8192)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    displayed = nits / 1000
    luma = displayed @ np.array([0.2627, 0.6780, 0.0593])
    scene = displayed * luma[:, None] ** (1 / 1.2 - 1)
    low = np.sqrt(3 * scene)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, low, high)


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_colours_become_what_they_were(transfer: int) -> None:
    signal = np.round(65_535 * to_hdr(COLOURS, transfer)).astype(np.uint16)
    mapped = map_to_bt709(signal[None], Colour(transfer, BT2020))[0]
    np.testing.assert_allclose(mapped, COLOURS, atol=3)


def test_highlights_are_compressed_in_order_and_never_wrap() -> None:
    greys = np.repeat(np.linspace(0, 65_535, 200).astype(np.uint16)[None, :, None], 3, axis=2)
    for transfer in (HLG, PQ):
        mapped = map_to_bt709(greys, Colour(transfer, BT2020))[0].astype(int)
        assert np.diff(mapped, axis=0).min() >= 0
        assert (mapped[0].max(), mapped[-1].min()) == (0, 255)


def test_sdr_in_bt2020_keeps_its_greys() -> None:
    greys = np.repeat(np.array([0, 64, 128, 230])[None, :, None] * 257, 3, axis=2).astype(np.uint16)
    mapped = map_to_bt709(greys, Colour(14, BT2020))[0, :, 0]
    np.testing.assert_allclose(mapped[:3], [0, 64, 128], atol=1)


@pytest.mark.parametrize("width_px", [64, 71])  # by the aspect of its pixels; of an odd width swscale errs
@pytest.mark.parametrize(("name", "transfer"), [("arib-std-b67", HLG), ("smpte2084", PQ)])
def test_hdr_video_is_decoded_to_sdr(tmp_path: Path, name: str, transfer: int, width_px: int) -> None:
    signal = np.round(65_535 * to_hdr(COLOURS, transfer)).astype("<u2")
    picture = np.repeat(np.repeat(signal.reshape(2, 2, 3), 32, axis=0), 32, axis=1)
    video = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb48le", s="64x64", framerate=25).video
    video = video.filter("scale", out_color_matrix="bt2020", out_range="tv").filter("format", "yuv420p10le")
    # With `setparams`, as the encoder takes its tags from the picture.
    video = video.filter("setparams", color_primaries="bt2020", color_trc=name, colorspace="bt2020nc")
    video = video.filter("setsar", f"{width_px}/64")
    sound = ffmpeg.input("sine=d=1", f="lavfi").audio
    options = {**X264, **AAC, "pix_fmt": "yuv420p10le"}
    path = tmp_path / "hdr.mp4"
    run_ffmpeg(ffmpeg.output(video, sound, str(path), **options), picture.tobytes() * 25)
    with open_video(path, DecodeSettings()) as decoded:
        image = next(iter(decoded)).image
    assert image.dtype == np.uint8
    assert image.shape == (64, width_px, 3)
    columns = [width_px // 4, 3 * width_px // 4]
    np.testing.assert_allclose(image[16::32][:, columns].reshape(-1, 3), COLOURS, atol=6)
