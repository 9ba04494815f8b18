"""The catalog of sources: scanning, identity, moves, duplicates."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.media.encoding import write_video
from preprocessing.schema import KEY_PATTERN
from preprocessing.sources import reading
from preprocessing.sources.catalog import (
    CATALOG_SCHEMA,
    CatalogRow,
    parse_catalog,
    rows_of,
    table_of,
)
from preprocessing.sources.discovery import find_videos, identity_slug
from preprocessing.sources.probe import ProbeSettings, SourceFacts
from preprocessing.sources.scan import ScanSettings, scan

SETTINGS = ScanSettings(workers=0)
FACTS = SourceFacts(2.0, 64, 48, 0, 50, 25.0, False, "h264", "aac", 16_000, 1, 0.0, 0.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small videos of different content."""
    folder = tmp_path_factory.mktemp("videos")
    paths = [folder / f"{index}.mp4" for index in range(3)]
    for index, path in enumerate(paths):
        frames = [np.full((16, 16, 3), 60 * index + 40, np.uint8)] * 30
        write_video(path, frames, 25, np.zeros(30 * 640, np.float32))
    return paths


def lay_out(root: Path, videos: list[Path], names: list[str]) -> None:
    for video, name in zip(videos, names, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, root / name)


def by_name(table: pa.Table) -> dict[str, CatalogRow]:
    return {row.relative_path: row for row in rows_of(table)}


def with_batches(table: pa.Table, key: str) -> pa.Table:
    """Every accepted video put in batch `key`."""
    column = pa.array(
        [key if status == "accepted" else None for status in table["status"].to_pylist()], pa.string()
    )
    return table.set_column(CATALOG_SCHEMA.get_field_index("batch"), CATALOG_SCHEMA.field("batch"), column)


def test_identity_is_the_first_folder_or_the_stem(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["id 1/video x/a clip.mp4", "Zoë Müller/b.MP4", "flat file.mp4"])
    (tmp_path / "notes.txt").write_text("not a video")
    rows = by_name(scan([tmp_path], None, SETTINGS).table)
    assert {name: row.identity for name, row in rows.items()} == {
        "id 1/video x/a clip.mp4": "id 1",
        "Zoë Müller/b.MP4": "Zoë Müller",
        "flat file.mp4": "flat file",
    }
    assert {row.status for row in rows.values()} == {"accepted"}


def test_row_has_hash_and_facts(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos[:1], ["p/a.mp4"])
    (row,) = rows_of(scan([tmp_path], None, SETTINGS).table)
    digest = hashlib.sha256(videos[0].read_bytes()).hexdigest()
    assert (row.sha256, row.video_id) == (digest, digest[:16])
    assert row.path == str(tmp_path.resolve() / "p/a.mp4")
    assert row.facts is not None
    assert (row.facts.width_px, row.facts.frame_count, row.facts.video_codec) == (16, 30, "h264")


def test_refused_files_are_rows_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mkv").write_text("hello")
    rows = by_name(scan([tmp_path], None, SETTINGS).table)
    assert {name: (row.status, row.reason) for name, row in rows.items()} == {
        "empty.mp4": ("refused", "zero_bytes"),
        "text.mkv": ("refused", "not_a_video"),
    }


def test_any_exception_is_the_files_row_and_the_scan_goes_on(
    tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lay_out(tmp_path, videos, ["a.mp4", "b.mp4", "c.mp4"])

    def fail_for_b(path: Path, _: ProbeSettings) -> SourceFacts:
        if path.name == "b.mp4":
            raise IndexError("list index\nout of range")
        return FACTS

    with monkeypatch.context() as patch:
        patch.setattr(reading, "probe", fail_for_b)
        first = scan([tmp_path], None, SETTINGS)
    rows = by_name(first.table)
    assert [row.status for row in rows.values()] == ["accepted", "failed", "accepted"]
    assert (rows["b.mp4"].reason, rows["b.mp4"].detail) == ("failed", "IndexError: list index out of range")
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    message, trace = record.getMessage().split("\n", 1)
    assert message == f"Reading {tmp_path.resolve() / 'b.mp4'} failed"
    assert "in fail_for_b" in trace
    second = scan([tmp_path], first.table, SETTINGS)
    assert (second.files_read, second.table.equals(first.table)) == (0, True)
    third = scan([tmp_path], first.table, SETTINGS, retry_failed=True)
    assert (third.files_read, set(third.table["status"].to_pylist())) == (1, {"accepted"})


def test_pipes_and_devices_are_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    rows = by_name(scan([tmp_path], None, SETTINGS).table)
    assert {name: row.reason for name, row in rows.items()} == dict.fromkeys(
        ("device.mp4", "pipe.mp4"), "not_a_file"
    )


@pytest.mark.slow
def test_second_scan_opens_no_known_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        (tmp_path / f"id{number:03d}").mkdir()
    for number in range(10_000):
        (tmp_path / f"id{number % 100:03d}" / f"{number}.mp4").write_bytes(b"%d" % number)
    read: list[Path] = []

    def accept(path: Path, _: ProbeSettings) -> SourceFacts:
        read.append(path)
        return FACTS

    monkeypatch.setattr(reading, "probe", accept)
    first = scan([tmp_path], None, SETTINGS)
    assert (len(read), first.files_read) == (10_000, 10_000)

    def fail(*_: object) -> None:
        raise AssertionError("a known file was opened")

    monkeypatch.setattr(reading, "probe", fail)
    monkeypatch.setattr(reading, "hash_file", fail)
    second = scan([tmp_path], first.table, SETTINGS)
    assert (second.files_found, second.files_read) == (10_000, 0)
    assert second.table.equals(first.table)


def test_changed_probe_settings_do_not_hash_again(
    tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, videos, ["a.mp4", "b.mp4"])
    first = scan([tmp_path], None, SETTINGS)

    def fail(_: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(reading, "hash_file", fail)
    stricter = ScanSettings(probe=ProbeSettings(minimum_seconds=5.0), workers=0)
    second = scan([tmp_path], first.table, stricter)
    assert second.files_read == 2
    assert second.table["reason"].to_pylist() == ["too_short", "too_short"]


def test_same_content_twice_is_one_video(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, [videos[0], videos[0], videos[1]], ["a/1.mp4", "b/copy.mp4", "c/2.mp4"])
    rows = by_name(scan([tmp_path], None, SETTINGS).table)
    assert rows["a/1.mp4"].status == "accepted"
    copy = rows["b/copy.mp4"]
    assert (copy.status, copy.reason, copy.video_id) == ("duplicate", "duplicate", rows["a/1.mp4"].video_id)
    assert copy.detail == f"same content as {rows['a/1.mp4'].path}"


def test_moved_file_keeps_its_id_and_batch(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["a/1.mp4", "b/2.mp4"])
    known = with_batches(scan([tmp_path], None, SETTINGS).table, "b00000-12345678")
    before = by_name(known)["a/1.mp4"]
    (tmp_path / "c").mkdir()
    (tmp_path / "a/1.mp4").rename(tmp_path / "c/new name.mp4")
    result = scan([tmp_path], known, SETTINGS)
    rows = by_name(result.table)
    assert sorted(rows) == ["b/2.mp4", "c/new name.mp4"]
    moved = rows["c/new name.mp4"]
    assert (moved.video_id, moved.batch, moved.identity) == (before.video_id, "b00000-12345678", "c")


def test_missing_file_keeps_its_row(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["a/1.mp4", "b/2.mp4"])
    known = with_batches(scan([tmp_path], None, SETTINGS).table, "b00000-12345678")
    (tmp_path / "a/1.mp4").rename(tmp_path / "elsewhere")
    gone = scan([tmp_path], known, SETTINGS)
    row = by_name(gone.table)["a/1.mp4"]
    assert (row.present, row.is_processed, row.batch, gone.newly_missing) == (
        False,
        False,
        "b00000-12345678",
        1,
    )
    (tmp_path / "elsewhere").rename(tmp_path / "a/1.mp4")
    back = scan([tmp_path], gone.table, SETTINGS)
    assert back.files_read == 0
    assert back.table.equals(known)


def test_duplicate_replaces_a_missing_file(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, [videos[0], videos[0]], ["a/1.mp4", "b/copy.mp4"])
    known = with_batches(scan([tmp_path], None, SETTINGS).table, "b00000-12345678")
    (tmp_path / "a/1.mp4").unlink()
    (row,) = rows_of(scan([tmp_path], known, SETTINGS).table)
    assert (row.relative_path, row.status, row.batch) == ("b/copy.mp4", "accepted", "b00000-12345678")


def test_new_content_at_a_known_path_is_a_new_video(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["a.mp4"])
    known = with_batches(scan([tmp_path], None, SETTINGS).table, "b00000-12345678")
    shutil.copyfile(videos[1], tmp_path / "a.mp4")
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    result = scan([tmp_path], known, SETTINGS)
    rows = {row.present: row for row in rows_of(result.table)}
    assert rows[True].batch is None
    assert rows[True].video_id != rows[False].video_id
    assert rows[False].batch == "b00000-12345678"
    again = scan([tmp_path], result.table, SETTINGS)
    assert again.files_read == 0
    assert again.table.equals(result.table)


def test_touched_file_keeps_its_batch(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["a.mp4"])
    known = with_batches(scan([tmp_path], None, SETTINGS).table, "b00000-12345678")
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    (row,) = rows_of(scan([tmp_path], known, SETTINGS).table)
    assert (row.batch, row.present, row.modified_ns) == ("b00000-12345678", True, 1)


def test_scan_keeps_rows_of_other_folders(tmp_path: Path, videos: list[Path]) -> None:
    lay_out(tmp_path, videos, ["one/a.mp4", "two/b.mp4"])
    known = scan([tmp_path / "one", tmp_path / "two"], None, SETTINGS).table
    (tmp_path / "two/b.mp4").unlink()
    result = scan([tmp_path / "one"], known, SETTINGS)
    assert result.table.equals(known)


def test_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        scan([tmp_path / "nowhere"], None, SETTINGS)


def test_growing_file_is_read_again_next_time(
    tmp_path: Path, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, videos, ["a.mp4"])

    def grow(path: Path, _: ProbeSettings) -> SourceFacts:
        with path.open("ab") as file:
            file.write(b"more")
        return FACTS

    with monkeypatch.context() as patch:
        patch.setattr(reading, "probe", grow)
        first = scan([tmp_path], None, SETTINGS)
    assert first.table["reason"].to_pylist() == ["still_changing"]
    second = scan([tmp_path], first.table, SETTINGS)
    assert (second.files_read, second.table["status"].to_pylist()) == (1, ["accepted"])


def test_find_videos_skips_hidden_files_and_link_loops(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("a/1.mp4", "a/.hidden.mp4", ".cache/2.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "A link").symlink_to(tmp_path / "a")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nothing")
    files, unreadable, others = find_videos([tmp_path])
    assert [file.relative_path for file in files] == ["a/1.mp4"]
    assert unreadable == []
    assert others == {"hidden": 2, "link to nothing": 1}


def test_find_videos_takes_containers_and_counts_the_rest(tmp_path: Path) -> None:
    taken = ["a.MTS", "b.m2ts", "c.ts", "d.flv", "e.3gp", "f.ogv", "g.wmv", "h.vob", "i.mp4"]
    for name in [*taken, "a.wav", "b.WAV", "list.csv", "README"]:
        (tmp_path / name).touch()
    files, _, others = find_videos([tmp_path])
    assert [file.relative_path for file in files] == taken
    assert others == {".csv": 1, ".wav": 2, "no ending": 1}
    result = scan([tmp_path], None, SETTINGS)
    assert (result.files_found, result.other_files) == (len(taken), others)


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.touch()
    (row,) = rows_of(scan([tmp_path], None, SETTINGS).table)
    assert (row.relative_path, row.reason) == ("caf\\xe9.mp4", "name_not_utf8")


@pytest.mark.parametrize("identity", ["id10270", "Zoë Müller", "李雷", "a.b/c", "x" * 200, "..."])
def test_identity_slug_matches_the_key_pattern(identity: str) -> None:
    slug = identity_slug(identity)
    assert KEY_PATTERN.fullmatch(slug)
    assert len(slug) <= 41


def test_identity_slug_is_unique_and_normalised() -> None:
    assert identity_slug("Zoë Müller").startswith("zoe-muller-")
    assert identity_slug("Zoë") != identity_slug("Zoe")
    assert identity_slug("Zoe\u0308") == identity_slug("Zo\u00eb")


def test_catalog_file_keeps_rows_and_descriptions() -> None:
    row = CatalogRow(
        "0" * 16,
        "0" * 64,
        "/r/p/a.mp4",
        "p/a.mp4",
        "/r",
        "p",
        5,
        7,
        True,
        "accepted",
        "",
        "",
        None,
        "1:0",
        FACTS,
    )
    table = parse_catalog(parquet_of(table_of([row])), "videos.parquet")
    assert rows_of(table) == [row]
    assert all(table.schema.field(name).metadata[b"description"] for name in table.schema.names)


def parquet_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_parse_catalog_refuses_other_tables_and_damage() -> None:
    with pytest.raises(ValueError, match=r"has columns \['a'\]"):
        parse_catalog(parquet_of(pa.table({"a": [1]})), "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet is damaged: it cannot be read"):
        parse_catalog(parquet_of(table_of([]))[:-1], "x.parquet")


def test_scan_logs_the_number_of_files_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
    caplog.set_level("INFO")
    scan([tmp_path], None, SETTINGS)
    assert caplog.messages == ["Hashed and probed 3 of 3 new files"]
