"""Lists of videos of any program, and the one line of each row that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.referee.listing import MediaPart, read_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "c.wav"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def write(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_rows_name_files_relative_to_the_list(folder: Path) -> None:
    rows, refused = read_list(
        write(folder, 'generated,truth,lip,pose\na.mp4,b.mp4,c.wav,\n"a.mp4#xywh=1,2,3,4",,,b.mp4\n')
    )
    assert refused == []
    assert [row.name for row in rows] == ["a", "a-2"]
    assert rows[0].truth == MediaPart(folder / "b.mp4")
    assert rows[0].drivers == {"lip": MediaPart(folder / "c.wav")}
    assert rows[1].generated == MediaPart(folder / "a.mp4", (1, 2, 3, 4))
    # A sound of the lips alone is no other driver of the face.
    assert [row.task for row in rows] == ["self", "cross"]


def test_json_lines_equal_csv(folder: Path) -> None:
    lines = [{"generated": "a.mp4", "truth": "b.mp4"}, {"name": "two", "generated": "b.mp4", "eye": None}]
    text = "\n\n".join(json.dumps(line) for line in lines)
    rows, refused = read_list(write(folder, text, "list.jsonl"))
    assert [(row.line, row.name, row.task) for row in rows] == [(1, "a", "self"), (3, "two", "cross")]
    assert refused == []


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("gone.mp4,,", "generated", "gone.mp4; correct the path, or leave the value empty"),
        (",a.mp4,", "generated", "empty; name the video to measure, or remove the row"),
        ("a.mp4,b.mp4,first", "name", "'first' is taken by an earlier row; give it another or none"),
        ("a.mp4,b.mp4,x,y", "row", "more values than columns; put a path with a comma in double quotes"),
        ('"a.mp4#xywh=0,0,0,9",,', "generated", "width and height must be above 0"),
        ("a.mp4#xywh=9,,", "generated", "a part is written FILE#xywh=x,y,width,height in px"),
    ],
)
def test_bad_row_is_one_line_with_value_and_remedy(folder: Path, row: str, column: str, reason: str) -> None:
    file = write(folder, f"generated,truth,name\na.mp4,,first\n{row}\n")
    rows, refused = read_list(file)
    assert [one.name for one in rows] == ["first"]
    (left_out,) = refused
    assert left_out.text(file).startswith(f"{file} line 3, {column}: ")
    assert reason in left_out.text(file)


def test_line_that_is_no_json_object_is_refused(folder: Path) -> None:
    _, refused = read_list(write(folder, '["a.mp4"]\n{"generated": 3}\n', "list.jsonl"))
    assert [one.reason for one in refused] == [
        "'[\"a.mp4\"]' is no JSON object; write one object a line",
        "3 is no path; write a path in quotes, or leave it out",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generated,face\na.mp4,b.mp4\n", "unknown column 'face'; columns are name, generated, truth"),
        ("truth\na.mp4\n", "no column generated"),
        ("generated\n", "has no rows"),
    ],
)
def test_list_without_the_right_columns_raises(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_list(write(folder, text))


def test_missing_list_names_the_columns(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no list .*none\.csv: a CSV file with the columns name"):
        read_list(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"generated": "~nobody-of-this-name/a.mp4"}, "generated"),
        ({"generated": "a" * 5000}, "generated"),
        ({"generated": "a.mp4#xywh=1,2,3," + "9" * 5000}, "generated"),
        ({"generated": "\ud800.mp4"}, "generated"),
        ({"generated": "a.mp4", "name": "\ud800"}, "name"),
        ({"generated": "a.mp4", "name": "a\x1b[2J"}, "name"),
        ({"generated": "a.mp4", "name": "n" * 201}, "name"),
        ({"generated": ["a.mp4"]}, "generated"),
    ],
)
def test_hostile_row_harms_only_itself(folder: Path, row: dict[str, Any], column: str) -> None:
    text = "\n".join(map(json.dumps, ({"generated": "b.mp4"}, row, {"generated": "a.mp4"})))
    rows, refused = read_list(write(folder, text, "list.jsonl"))
    assert [one.name for one in rows] == ["b", "a"]
    assert [(one.line, one.column) for one in refused] == [(2, column)]
    assert refused[0].text(folder / "list.jsonl").isascii()


def test_many_rows_of_one_stem_are_numbered(folder: Path) -> None:
    rows, _ = read_list(
        write(folder, "generated,name\n" + "a.mp4,\n" * 3 + "a.mp4,a-4\n" + "a.mp4,\n" * 20_000)
    )
    assert [row.name for row in rows[:6]] == ["a", "a-2", "a-3", "a-4", "a-5", "a-6"]
    assert len({row.name for row in rows}) == 20_004
