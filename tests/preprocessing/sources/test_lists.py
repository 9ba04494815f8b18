"""Lists: every row accepted or refused in order, and what scans, batches and splits make of them."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from preprocessing.integrity.catalog import check_lists
from preprocessing.sources.lists.adding import add_rows
from preprocessing.sources.lists.reading import read_list
from preprocessing.sources.lists.rows import RefusedRow, check_row
from preprocessing.sources.lists.segments import END, Segment, segment_of, spans_of
from preprocessing.sources.lists.stored import (
    list_names,
    listed_files,
    listed_splits,
    remove_list,
    save_list,
    segments_of,
)
from tests.factories.preprocessing.corpora import touch_all
from tests.factories.storage.flips import flipped_byte

CSV = """path,start,end,identity,split,emotion,Note
a/1.mp4,0:01,3.5,Ann,train,happy,"kept, as is"
a/1.mp4,4,9,Bob,,,
missing.mp4,,,,,,
notes.txt,,,,,,
../1.mp4,,,,,,
a/1.mp4,3,2,,,,
a/1.mp4,0:01,3.5,Ann,train,sad,
b/2.mp4,,,Ann,test,,
short,row
b/2.mp4,x,,,,,
b/2.mp4,,,,holdout,,
"""
REASONS = [
    "identity_in_two_splits", "", "not_found", "not_a_video_ending", "outside_the_folder", "bad_time",
    "repeated_row", "", "damaged_row", "bad_time", "bad_split",
]  # fmt: skip


def videos_in(folder: Path) -> Path:
    touch_all(folder, ["a/1.mp4", "b/2.mp4", "b/3.mp4"])
    return folder.resolve()


def table_of(path: Path, records: Sequence[Mapping[str, Any]], folder: Path) -> list[dict[str, Any]]:
    add_rows([dict(record) for record in records], folder, path)
    return pq.read_table(path).to_pylist()


def test_csv_rows_end_accepted_or_refused_in_order(tmp_path: Path) -> None:
    folder = videos_in(tmp_path / "videos")
    (folder / "notes.txt").touch()
    (tmp_path / "list.csv").write_text(CSV, "utf-8-sig")
    report = add_rows(read_list(tmp_path / "list.csv"), folder, tmp_path / "list.parquet")
    rows = pq.read_table(tmp_path / "list.parquet").to_pylist()
    assert [row["row"] for row in rows] == list(range(1, 12))
    assert [row["reason"] for row in rows] == REASONS
    assert [row["status"] for row in rows] == ["refused" if reason else "accepted" for reason in REASONS]
    assert all(bool(row["detail"]) == bool(row["reason"]) for row in rows)
    assert (report.rows, report.accepted, report.refusals["bad_time"]) == (11, 2, 2)
    assert (rows[0]["start_seconds"], rows[0]["path"]) == (1.0, str(folder / "a/1.mp4"))
    assert json.loads(rows[0]["labels"]) == {"emotion": "happy", "Note": "kept, as is"}


def test_json_lines_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    folder = videos_in(tmp_path / "videos")
    records: list[dict[str, Any]] = [
        {"path": "a/1.mp4", "start": 0.5, "face_x": 0.5, "face_y": 0.25, "age": 31, "tags": ["x", "y"]},
        {"path": "b/2.mp4", "identity": "李雷", "track": [[0.0, 1, 2, 3, 4], [1.0, 2, 3, 4, 5]]},
    ]
    lines = tmp_path / "list.jsonl"
    lines.write_text("\n".join(json.dumps(record) for record in records) + "\n\n{broken\n[1]\n")
    pq.write_table(pa.Table.from_pylist([{**records[0], "identity": None}]), tmp_path / "list.parquet")
    add_rows(read_list(lines), folder, tmp_path / "a")
    first, second, *damaged = pq.read_table(tmp_path / "a").to_pylist()
    assert (first["identity"], first["face"]) == ("a", [0.5, 0.25, 0.5, 0.25])
    assert json.loads(first["labels"]) == {"age": 31, "tags": ["x", "y"]}
    assert (second["identity"], json.loads(second["track"])[1]) == ("李雷", [1.0, 2.0, 3.0, 4.0, 5.0])
    assert [row["reason"] for row in damaged] == ["damaged_row", "damaged_row"]
    add_rows(read_list(tmp_path / "list.parquet"), folder, tmp_path / "b")
    assert pq.read_table(tmp_path / "b").to_pylist() == [first]


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "bad.parquet"])
def test_file_that_is_no_list_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("video,start\na.mp4,1\n")
    with pytest.raises(ValueError, match=name):
        list(read_list(tmp_path / name))


def test_keys_find_videos_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    touch_all(folder, ["a/one.mp4", "a/two.mp4", "b/two.mkv"])
    keys = ["one", "a/two", "two", "three"]
    rows = table_of(tmp_path / "list", [{"key": key} for key in keys], folder)
    assert [row["reason"] for row in rows] == ["", "", "ambiguous_key", "not_found"]
    assert [row["path"].rpartition("videos/")[2] for row in rows[:2]] == ["a/one.mp4", "a/two.mp4"]


def test_address_is_refused_as_one(tmp_path: Path) -> None:
    folder = videos_in(tmp_path / "videos")
    (row,) = table_of(tmp_path / "list", [{"path": "https://example.org/v.mp4"}], folder)
    wanted = "https://example.org/v.mp4 is an address: download it, and give the file's path"
    assert (row["reason"], row["detail"]) == ("not_found", wanted)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "no_path"),
        ({"start": "nan"}, "bad_time"),
        ({"start": -1}, "bad_time"),
        ({"face_left": 0.1}, "bad_face"),
        ({"face_left": 5, "face_top": 0, "face_right": 5, "face_bottom": 9}, "bad_face"),
        ({"track": "[[0, 1, 2, 3]]"}, "bad_track"),
        ({"track": "[["}, "bad_track"),
        ({"identity": "a\x1bb"}, "bad_identity"),
        ({"note": "x" * 20_000}, "bad_value"),
    ],
)
def test_wrong_values_are_refused(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedRow) as caught:
        check_row(record | ({"path": "a.mp4"} if record else {}))
    assert caught.value.reason == reason


def test_segments_cut_a_video_into_spans() -> None:
    def part(first: int, end: int) -> Segment:
        return Segment(1, first, end, "Ann")

    assert spans_of([]) == spans_of([part(0, END)]) == ()
    assert spans_of([part(0, 50), part(30, 80), part(100, END)]) == ((0, 30), (30, 50), (50, 80), (100, END))
    row: dict[str, Any] = {"row": 1, "start_seconds": 1.01, "end_seconds": 2.0, "face": None, "track": None}
    cut = segment_of(row | {"identity": "Ann", "labels": "{}"})
    assert (cut.first_frame, cut.end_frame) == (26, 50)


def test_segment_shows_the_face_in_its_box() -> None:
    share = Segment(1, 0, END, "Ann", face=(0.5, 0.0, 1.0, 1.0))
    assert share.shows(0, (900.0, 300.0), 100.0, (1000, 600))
    assert not share.shows(0, (300.0, 300.0), 100.0, (1000, 600))
    point = Segment(1, 0, END, "Ann", face=(0.25, 0.5, 0.25, 0.5))
    assert point.shows(0, (290.0, 300.0), 100.0, (1000, 600))
    assert not point.shows(0, (310.0, 300.0), 100.0, (1000, 600))
    moving = Segment(1, 0, END, "Ann", track=((0.0, 0.0, 0.0, 100.0, 100.0), (2.0, 400.0, 0.0, 500.0, 100.0)))
    assert moving.box_at(25) == (200.0, 0.0, 300.0, 100.0)
    assert moving.shows(25, (250.0, 50.0), 100.0, (1000, 600))
    assert not moving.shows(0, (250.0, 50.0), 100.0, (1000, 600))


def test_stored_list_names_files_segments_and_splits(tmp_path: Path) -> None:
    folder = videos_in(tmp_path / "videos")
    root = UPath(tmp_path / "root")
    records = [
        {"path": "a/1.mp4", "start": 1, "end": 2, "identity": "Ann", "split": "test", "emotion": "sad"},
        {"path": "a/1.mp4", "start": 3, "identity": "Bob"},
        {"path": "b/2.mp4"},
        {"path": "gone.mp4", "split": "train"},
    ]
    report = save_list(root, "mine", [*records], folder)
    assert (report.accepted, report.videos, report.identities) == (3, 2, 3)
    listed = listed_files(root)
    first, second = str(folder / "a/1.mp4"), str(folder / "b/2.mp4")
    assert listed.identities == {first: "Ann", second: "b"}
    assert (listed.list_of(str(folder / "b/3.mp4")), listed.list_of("/elsewhere/x.mp4")) == ("mine", None)
    segments = segments_of(root, [first, second, "/elsewhere/x.mp4"])
    assert set(segments) == {first}
    assert [segment.identity for segment in segments[first]] == ["Ann", "Bob"]
    assert segments[first][0].annotations == {"emotion": "sad"}
    assert listed_splits(root) == {"Ann": "test"}
    remove_list(root, "mine")
    assert list_names(root) == []
    with pytest.raises(ValueError, match="there is no list 'mine'; the lists are: none"):
        remove_list(root, "mine")
    with pytest.raises(ValueError, match="list empty has no rows"):
        save_list(root, "empty", [], folder)
    assert list_names(root) == []


HOSTILE = [
    ({"start": ":" * 400}, "bad_time"),
    ({"start": "1e308"}, "bad_time"),
    ({"end": 10**400}, "bad_time"),
    ({"face_x": 10**400, "face_y": 1}, "bad_face"),
    ({"track": "[" * 100_000}, "bad_track"),
    ({"track": [[10**400, 0, 0, 1, 1]]}, "bad_track"),
    ({"key": {"a": 1}}, "bad_value"),
    ({"identity": "a\x1b[2J"}, "bad_identity"),
    ({"identity": "\ud800"}, "bad_identity"),
    ({"path": "a/1.mp4\0"}, "not_a_video_ending"),
    ({"path": "\ud800.mp4"}, "not_found"),
    ({"path": "pipe.mp4"}, "not_found"),
    ({"path": "folder.mp4"}, "not_found"),
]


def test_hostile_rows_harm_only_themselves(tmp_path: Path) -> None:
    folder = videos_in(tmp_path / "videos")
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    records = [{"path": "a/1.mp4", **record} for record, _ in HOSTILE]
    records += [{"path": "a/1.mp4", "note": nested}, {"path": "a/1.mp4", "emotion": "\ud800"}]
    rows = table_of(tmp_path / "list.parquet", records, folder)
    assert [row["reason"] for row in rows] == [*(reason for _, reason in HOSTILE), "bad_value", ""]
    assert json.loads(rows[-1]["labels"]) == {"emotion": "?"}
    assert max(len(row["detail"]) for row in rows) < 300


def test_long_lines_are_refused_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocessing.sources.lists.reading.LINE_CHARACTERS", 50)
    lines = ['{"path": "a.mp4"}', json.dumps({"path": "x" * 200}), '{"path": "b.mp4"}']
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    first, refused, last = read_list(tmp_path / "list.jsonl")
    assert (first, last) == ({"path": "a.mp4"}, {"path": "b.mp4"})
    assert isinstance(refused, RefusedRow)
    assert refused.detail == "line 2 has more than 50 characters"
    (tmp_path / "list.csv").write_text("x" * (2**20 + 1))
    with pytest.raises(ValueError, match="the first line cannot be read: field larger than"):
        list(read_list(tmp_path / "list.csv"))


def test_damaged_list_is_found_and_named(tmp_path: Path) -> None:
    root, folder = UPath(tmp_path / "root"), videos_in(tmp_path / "videos")
    save_list(root, "one", [{"path": "a/1.mp4"}], folder)
    save_list(root, "one", [{"path": "a/1.mp4", "identity": "Ann"}], folder)
    assert check_lists(root) == []
    stored = tmp_path / "root" / "catalog" / "lists" / "one.parquet"
    with flipped_byte(stored):
        os.utime(stored)
        (fault,) = check_lists(root)
        assert (fault.path, fault.mend) == (
            "catalog/lists/one.parquet",
            "add it again: pdfgc sources add LIST --name one",
        )
        with pytest.raises(ValueError, match=r"one\.parquet is damaged: sha256 .* add it again"):
            listed_files(root)
    content = stored.read_bytes()
    stored.unlink()
    (fault,) = check_lists(root)
    assert fault.found == "nothing"
    stored.write_bytes(content)
    assert list(listed_files(root).identities.values()) == ["Ann"]
    remove_list(root, "one")
    assert check_lists(root) == []
    assert list(stored.parent.iterdir()) == []
