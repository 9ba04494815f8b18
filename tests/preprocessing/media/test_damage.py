"""What the decoder knows of damage reaches the picture: what an error may have smeared is marked."""

from pathlib import Path

import av
import numpy as np
import pytest

from preprocessing.media.decoding import DecodeSettings, VideoFrame, open_video
from tests.factories.preprocessing.media import (
    AAC,
    MPEG1,
    MPEG4_MP3,
    PCM,
    X264,
    X264_B_FRAMES,
    Recipe,
    make_video,
    read_number,
)

TS_PACKET = 188


def decode(path: Path) -> list[VideoFrame]:
    with open_video(path, DecodeSettings()) as video:
        return list(video)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "codecs",
    [{**X264, **AAC}, {**X264_B_FRAMES, **AAC}, {**MPEG1, "bf": 2}],
    ids=["h264", "b frames", "mpeg"],
)
def test_pictures_after_lost_packets_are_marked(tmp_path: Path, codecs: dict[str, object], seed: int) -> None:
    recipe = Recipe(".ts", codecs={**codecs, "g": 25})
    make_video(tmp_path / "whole.ts", recipe)
    whole = {frame.index: frame.image for frame in decode(tmp_path / "whole.ts")}
    content = (tmp_path / "whole.ts").read_bytes()
    packets = [content[start : start + TS_PACKET] for start in range(0, len(content), TS_PACKET)]
    pictures = [number for number, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    lost = set(np.random.default_rng(seed).choice(pictures[20:], 4).tolist())  # of stream 0x100, the video
    kept = [packet for number, packet in enumerate(packets) if number not in lost]
    (tmp_path / "lost.ts").write_bytes(b"".join(kept))
    frames = decode(tmp_path / "lost.ts")
    sound = [frame for frame in frames if not frame.is_damaged]
    assert len(sound) < len(frames)
    for frame in sound:
        error = np.abs(frame.image.astype(int) - whole[frame.index]).mean()
        assert error < 1.0, frame.index


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [(".mov", {**X264, **PCM}), (".avi", {**MPEG4_MP3, **PCM})],
    ids=["mov", "avi"],
)
def test_places_of_undecodable_pictures_are_marked(
    tmp_path: Path, suffix: str, codecs: dict[str, object]
) -> None:
    path = tmp_path / f"a{suffix}"
    make_video(path, Recipe(suffix, codecs={**codecs, "bf": 0}))
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[30:34]:
        assert position is not None
        content[position : position + size] = bytes([255]) * size
    path.write_bytes(content)
    frames = decode(path)
    assert [frame.index for frame in frames] == list(range(75))
    damaged = [frame.index for frame in frames if frame.is_damaged]
    # From the first lost picture to the next key frame, which is every twelfth.
    assert damaged == list(range(30, 36))
    for frame in frames:
        assert frame.is_damaged or read_number(frame.image) == frame.index


def test_sound_video_has_no_damaged_picture(tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", Recipe(".ts", codecs={**X264_B_FRAMES, **AAC}))
    assert not any(frame.is_damaged for frame in decode(tmp_path / "a.ts"))
