"""Properties that hold for any input: samples, splits, fingerprints, crops, samplers, tars."""

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing.archive import ArchiveWriter, read_members, read_some_members
from preprocessing.dataset.splits import SplitSettings, assign_splits
from preprocessing.faces.alignment import AlignmentSettings, crop_transforms, transform_landmarks
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.schema import check_array
from preprocessing.shards import decode_array, decode_sample, encode_array, encode_sample
from storage.fingerprint import fingerprint
from storage.integrity.sealed_json import sealed, unsealed
from tests.factories.preprocessing.clips import KEY, random_sample, same
from training.data.sampling import Order, OrderSettings, World, epoch_order

# The same examples in every run, without files of its own; a loaded machine is no fault of the code.
FEW: Final = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES: Final = st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=25)


@FEW
@given(frames=st.integers(1, 64), coefficients=st.booleans(), anchors=st.integers(0, 3))
def test_samples_are_read_as_they_were_written(frames: int, coefficients: bool, anchors: int) -> None:
    sample = random_sample(frames=frames, coefficients=coefficients, anchors=min(anchors, frames))
    assert same(decode_sample(KEY, encode_sample(sample)), sample)


@FEW
@given(st.lists(st.floats(width=32), min_size=1, max_size=6))
def test_arrays_pass_the_schema_where_they_are_finite_and_bounded(values: list[float]) -> None:
    array = np.array(values, np.float32)
    read = decode_array(KEY, {"a.npy": encode_array(array)}, "a.npy")
    assert read.tobytes() == array.tobytes()
    if np.isfinite(array).all() and np.abs(array).max() <= 1.0:
        check_array("a", "values", read, array.shape, bound=1.0)
    else:
        with pytest.raises(ValueError, match=r"not finite|must be within"):
            check_array("a", "values", read, array.shape, bound=1.0)


@FEW
@given(
    st.dictionaries(st.sampled_from(["000.jpg", "a.npy", "meta.json"]), st.binary(max_size=1200), min_size=1)
)
def test_tars_give_back_their_members(members: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        with ArchiveWriter(path) as archive:
            archive.write("before", {"x": b"1"})
            place = archive.write("key", members)
            archive.write("behind", {"x": b"2"})
        assert read_members(path, place) == members
        assert read_some_members(path, place, list(members)) == members


@FEW
@given(known=NAMES, new=NAMES, seed=st.integers(0, 5))
def test_splits_stay_and_do_not_depend_on_order(known: set[str], new: set[str], seed: int) -> None:
    chosen = SplitSettings(seed=seed, validation_share=0.2, test_share=0.2)
    before = assign_splits(sorted(known), {}, chosen)
    after = assign_splits(sorted(known | new, reverse=True), before, chosen)
    assert set(after) == known | new
    assert {name: after[name] for name in known} == before
    assert assign_splits(sorted(known | new), before, chosen) == after


@FEW
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), JSON)
def test_fingerprints_follow_the_values_alone(values: dict[str, Any], other: Any) -> None:
    assert fingerprint(dict(reversed(values.items()))) == fingerprint(values)
    changed = {**values, "added": other}
    assert (fingerprint(changed) == fingerprint(values)) == (changed == values)
    values.pop("sha256", None)
    assert unsealed(sealed(values)) == values
    damaged = {**sealed(values), "added": other}
    if "added" not in values:
        with pytest.raises(ValueError, match="changed since it was written"):
            unsealed(damaged)


@FEW
@given(
    scale=st.floats(0.5, 8.0),
    turn=st.floats(-0.6, 0.6),
    shift=st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
    frames=st.integers(1, 4),
)
def test_official_crops_do_not_depend_on_place_and_size(
    scale: float, turn: float, shift: tuple[float, float], frames: int
) -> None:
    """A face that was moved, turned and enlarged gives the same landmarks in the crop."""
    face = np.repeat(load_mean_face().vertices_cm.astype(np.float32)[None], frames, axis=0)
    face[..., :2] = face[..., :2] * np.float32(10.0) * np.array([1, -1], np.float32)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = face.copy()
    moved[..., :2] = scale * face[..., :2] @ rotation.T + np.array(shift)
    crops = [
        transform_landmarks(landmarks, crop_transforms(landmarks, AlignmentSettings()))
        for landmarks in (face, moved.astype(np.float32))
    ]
    np.testing.assert_allclose(crops[0][..., :2], crops[1][..., :2], atol=0.05)


@FEW
@given(
    shards=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    window=st.none() | st.integers(1, 50),
    rows=st.integers(1, 7),
    ranks=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_every_sample_comes_once_an_epoch_over_all_ranks(
    shards: list[int], window: int | None, rows: int, ranks: int, seed: int
) -> None:
    order_settings, numbers = OrderSettings(window_samples=window), np.array(shards, np.int64)
    assert sorted(epoch_order(numbers, seed, 1, order_settings).tolist()) == list(range(len(shards)))
    order = Order(numbers, seed, order_settings)
    streams = [order.stream(0, rows, World(rank, ranks)) for rank in range(ranks)]
    steps = -(-2 * len(shards) // (rows * ranks))
    slots = [slot for _ in range(steps) for stream in streams for slot in next(stream)][: 2 * len(shards)]
    for epoch in range(2):
        items = [slot.item for slot in slots if slot.epoch == epoch]
        assert sorted(items) == list(range(len(shards)))
    passed = [
        slot.item
        for rank in range(ranks)
        for batch in order.single_pass(rows, World(rank, ranks))
        for slot in batch
        if slot.real
    ]
    assert sorted(passed) == list(range(len(shards)))
