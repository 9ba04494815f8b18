"""Label tables come back by clip, in frame order."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from preprocessing.labels.tables import (
    BLINK_NAMES,
    GAZE_NAMES,
    GAZE_SCHEMA,
    LABELS_TABLE,
    read_labels,
    write_labels,
)


def test_labels_round_trip_by_clip_in_frame_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("pitch_rad", "yaw_rad", "blink_left", "blink_right")
    labels = {
        key: {name: rng.random(frames, np.float32) for name in names} | {"valid": np.arange(frames) % 2 == 0}
        for key, frames in (("b", 3), ("a", 1), ("c", 2))
    }
    write_labels(tmp_path, GAZE_SCHEMA, labels)
    gaze, blink = read_labels(tmp_path, GAZE_NAMES), read_labels(tmp_path, BLINK_NAMES)
    assert list(gaze) == ["a", "b", "c"]
    for key, columns in labels.items():
        np.testing.assert_array_equal(gaze[key], np.stack([columns["pitch_rad"], columns["yaw_rad"]], axis=1))
        np.testing.assert_array_equal(blink[key][:, 1], columns["blink_right"])
        assert gaze[key].dtype == np.float32
    table = pq.read_table(tmp_path / LABELS_TABLE)
    assert table["frame"].to_pylist() == [0, 0, 1, 2, 0, 1]
    assert table["valid"].to_pylist() == [True, True, False, True, True, False]
    assert table.schema.field("valid").metadata == {
        b"description": b"the gaze was seen, not bridged over a blink"
    }


def test_no_labels_give_an_empty_table(tmp_path: Path) -> None:
    write_labels(tmp_path, GAZE_SCHEMA, {})
    assert read_labels(tmp_path, GAZE_NAMES) == {}
