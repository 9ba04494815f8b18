"""A sample as WebDataset members and back, to the bit; damage is reported, nothing is unpickled."""

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from webdataset.compat import WebDataset

from preprocessing.archive import ArchiveWriter, read_members
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import SCHEMA_VERSION
from preprocessing.shards import (
    decode_array,
    decode_clip,
    decode_flac,
    decode_sample,
    encode_array,
    encode_clip,
    encode_flac,
    encode_sample,
    jpeg_size,
)
from tests.factories.preprocessing.clips import KEY, random_clip, random_sample, same


@pytest.mark.parametrize(("coefficients", "anchors"), [(True, 2), (False, 0)])
def test_sample_round_trips_exactly(tmp_path: Path, coefficients: bool, anchors: int) -> None:
    sample = random_sample(frames=12, coefficients=coefficients, anchors=anchors)
    with ArchiveWriter(tmp_path / "a.tar") as archive:
        archive.write("before", {"txt": b""})
        place = archive.write(KEY, encode_sample(sample))
    assert same(decode_sample(KEY, read_members(tmp_path / "a.tar", place)), sample)


def test_blendshapes_are_an_optional_member() -> None:
    sample = random_sample(frames=2)
    shapes = np.full((2, 52), 0.25, np.float32)
    shapes[1] = np.nan
    members = encode_sample(replace(sample, labels=replace(sample.labels, blendshapes=shapes)))
    read = decode_sample(KEY, members).labels.blendshapes
    assert read is not None
    np.testing.assert_array_equal(read, shapes)
    del members["blendshapes.npy"]
    assert members == encode_sample(sample)
    assert decode_sample(KEY, members).labels.blendshapes is None


def test_clip_round_trips_exactly() -> None:
    clip = random_clip(frames=64, seed=3)
    assert same(decode_clip(KEY, encode_clip(clip)), clip)


def test_equal_samples_give_equal_bytes() -> None:
    assert encode_sample(random_sample(seed=5)) == encode_sample(random_sample(seed=5))


# Its reader leaves the file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_decodes_every_member(tmp_path: Path) -> None:
    sample = random_sample(frames=2, anchors=1)
    with ArchiveWriter(tmp_path / "a.tar") as archive:
        archive.write(KEY, encode_sample(sample))
    dataset = WebDataset(str(tmp_path / "a.tar"), shardshuffle=False, empty_check=False)
    decoded: Any = dataset.decode("rgb8")
    (read,) = decoded
    names = {name for name in read if not name.startswith("__")}
    assert names == {
        "000.jpg", "001.jpg", "audio.flac", "margins.flac", "landmarks.npy", "mel.npy", "pose.npy",
        "gaze.npy", "blink.npy", "coefficients.npy", "anchors.00.jpg", "anchors.00.eyes.jpg", "anchors.json",
        "meta.json",
    }  # fmt: skip
    assert read["000.jpg"].shape == (16, 16, 3)
    np.testing.assert_array_equal(read["pose.npy"], sample.labels.pose)
    assert read["meta.json"]["identity"] == "Zoë Ä"


def test_flac_is_exact_for_16_bit_samples() -> None:
    steps = np.arange(-(2**15), 2**15)
    sound = (steps / 2**15).astype(np.float32)
    np.testing.assert_array_equal(decode_flac(KEY, {"a.flac": encode_flac(sound)}, "a.flac"), sound)
    top = decode_flac(KEY, {"a.flac": encode_flac(np.array([1.0, -1.0], np.float32))}, "a.flac")
    np.testing.assert_array_equal(top, np.array([1 - 2**-15, -1.0], np.float32))


MEMBERS = encode_sample(random_sample())


@pytest.mark.parametrize("name", sorted(set(MEMBERS) - {"coefficients.npy"}))
def test_decoding_names_the_key_of_a_missing_member(name: str) -> None:
    rest = {other: data for other, data in MEMBERS.items() if other != name}
    with pytest.raises(ValueError, match=KEY):
        decode_sample(KEY, rest)


@pytest.mark.parametrize("name", sorted(name for name in MEMBERS if not name.endswith(".jpg")))
def test_decoding_refuses_truncated_members(name: str) -> None:
    halved = {**MEMBERS, name: MEMBERS[name][: len(MEMBERS[name]) // 2]}
    with pytest.raises(ValueError, match=rf"{KEY}|labels"):
        decode_sample(KEY, halved)


def test_decoding_refuses_another_schema_version() -> None:
    meta = json.loads(MEMBERS["meta.json"]) | {"schema_version": 99}
    with pytest.raises(ValueError, match=f"{KEY}: schema version 99, this code reads {SCHEMA_VERSION}"):
        decode_sample(KEY, {**MEMBERS, "meta.json": json.dumps(meta).encode()})


@pytest.mark.parametrize("meta", [b"[]", b"{}", b'{"schema_version": 2}', b"\xff", b"not json"])
def test_decoding_refuses_wrong_metadata(meta: bytes) -> None:
    with pytest.raises(ValueError, match=KEY):
        decode_clip(KEY, {**MEMBERS, "meta.json": meta})


def test_decoding_refuses_unknown_anchor_fields() -> None:
    with pytest.raises(ValueError, match=KEY):
        decode_sample(KEY, {**MEMBERS, "anchors.json": b'[{"run": "this"}, {}]'})


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:  # pyright: ignore[reportImplicitOverride]
        return (Path.touch, (self.path,))


def pickled_array(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([bomb], object), allow_pickle=True)
    return buffer.getvalue()


def test_decoding_never_loads_pickles(tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "went-off")
    zipped = io.BytesIO()
    np.savez(zipped, pose=np.zeros(3))
    hostile: list[Mapping[str, bytes]] = [
        {"pose.npy": pickled_array(bomb)},
        {"pose.npy": pickle.dumps(bomb)},
        {"pose.npy": zipped.getvalue()},
    ]
    for members in hostile:
        with pytest.raises(ValueError, match=rf"{KEY}: member pose\.npy"):
            decode_sample(KEY, {**MEMBERS, **members})
    more = {"x.pkl": pickle.dumps(bomb), "x.pyd": pickle.dumps(bomb), "x.pth": pickle.dumps(bomb)}
    assert same(decode_sample(KEY, {**MEMBERS, **more}), random_sample())  # never looked at
    assert not bomb.path.exists()
    pickle.loads(pickle.dumps(bomb))  # noqa: S301  (the bomb is a real one)
    assert bomb.path.exists()


def test_decoding_refuses_another_dtype() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 6), np.float64))
    with pytest.raises(ValueError, match=rf"{KEY}: member pose\.npy is float64, need float32"):
        decode_sample(KEY, {**MEMBERS, "pose.npy": buffer.getvalue()})


def test_array_header_that_claims_more_than_there_is() -> None:
    data = bytearray(encode_array(np.zeros((3, 4), np.float32)))
    start = data.index(b"(3, 4), }")
    data[start : start + 9] = b"(1<<40,)}"[:9]
    with pytest.raises(ValueError, match=r"a\.npy is not a \.npy file"):
        decode_array(KEY, {"a.npy": bytes(data)}, "a.npy")
    data[start : start + 9] = b"(9999999,"
    data[start + 9 : start + 20] = b"9999),}    "
    with pytest.raises(ValueError, match=r"a\.npy has 176 bytes, which is not float32\[9999999, 9999\]"):
        decode_array(KEY, {"a.npy": bytes(data)}, "a.npy")


def test_sound_longer_than_a_clip_is_refused() -> None:
    members = {"a.flac": encode_flac(np.zeros(2**20 + 1, np.float32))}
    with pytest.raises(ValueError, match="1048577 samples in 1 channels at 16000 Hz, need at most 1048576"):
        decode_flac(KEY, members, "a.flac")
    claims = bytearray(encode_flac(np.zeros(640, np.float32)))
    claims[21:26] = b"\xff" * 5  # total samples: 2**36 - 1
    with pytest.raises(ValueError, match=r"a\.flac"):
        decode_flac(KEY, {"a.flac": bytes(claims)}, "a.flac")


def test_jpeg_size_is_that_of_the_header() -> None:
    data = encode_jpeg(np.zeros((48, 32, 3), np.uint8), 90)
    assert jpeg_size(data) == (32, 48)
    assert jpeg_size(b"\xff\xd8\xff" + data[2:]) == (32, 48)  # padded markers are allowed
    for damaged in (
        b"",
        data[:10],
        b"\xff\xd9" + data[2:],
        b"\x89PNG" + data,
        data[:2] + b"\xff\xe0\0\0" * 9,
    ):
        with pytest.raises(ValueError, match="bytes are not a JPEG file"):
            jpeg_size(damaged)
