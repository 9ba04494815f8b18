"""JPEG files in memory: channel order and damaged input."""

import numpy as np
import pytest

from preprocessing.media.jpeg import decode_jpeg, encode_jpeg


def test_jpeg_keeps_rgb_order() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    decoded = decode_jpeg(encode_jpeg(red, 95))
    assert decoded.shape == red.shape
    np.testing.assert_allclose(decoded[8, 8], [200, 0, 0], atol=3)


def test_decode_jpeg_refuses_other_bytes() -> None:
    with pytest.raises(ValueError, match="7 bytes are not a JPEG"):
        decode_jpeg(b"nothing")
