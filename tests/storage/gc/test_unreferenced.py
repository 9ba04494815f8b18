"""What nothing refers to: found exactly, and nothing else."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from upath import UPath

from storage.gc.findings import Moment
from storage.gc.survey import Build, Survey
from storage.publishing import BuildReport, Recipe, materialise
from tests.factories.builds import FILES, build, materialise_small
from tests.factories.collecting import (
    INDICES,
    NEW,
    NOBODY,
    OLD,
    dead_process,
    found,
    location_of,
    locations,
    make_old,
    other_content,
    publish_index,
    raising,
    supersede,
)


def local(root: UPath) -> Path:
    return Path(root.path)


def test_a_superseded_build_is_kept_while_it_is_young_and_then_found_with_its_size(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    location = location_of(root, old)
    young = found(root, days=6.9)
    assert young.findings == ()
    assert young.kept == {location: "young: ceased to be current 6.9 days ago"}

    (finding,) = found(root, days=7.1).findings
    manifest = Path(old.directory.path) / "manifest.json"
    assert (finding.kind, finding.location, finding.why) == ("build", location, "superseded 7.1 days ago")
    assert finding.size_bytes == sum(map(len, FILES.values())) + manifest.stat().st_size


def test_nothing_is_found_where_everything_is_current(tmp_path: Path) -> None:
    materialise_small(UPath(tmp_path))
    garbage = found(UPath(tmp_path), days=1000)
    assert (garbage.findings, garbage.kept, garbage.left_alone) == ((), {}, ())


def test_age_counts_from_when_a_build_ceased_to_be_current_not_from_when_it_was_made(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    finished = datetime.now(UTC) - timedelta(days=100)
    manifest = replace(old.manifest, finished_at=finished.isoformat())
    Path(old.directory.path, "manifest.json").write_text(manifest.to_json())
    assert found(root, days=0).findings == ()
    assert locations(found(root, days=8)) == [location_of(root, old)]


def test_a_build_that_was_made_current_again_is_kept_and_the_other_is_old_since_then(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    assert not materialise(root, OLD, build).built
    assert locations(found(root)) == [location_of(root, new)]
    materialise(root, NEW, other_content)
    assert locations(found(root)) == [location_of(root, old)]
    assert found(root, days=6.9).findings == ()


def test_without_a_note_of_it_a_build_ceased_when_the_next_was_finished(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    pointer = Path(new.directory.path).parent / "current.json"
    pointer.write_text(json.dumps({"directory": new.directory.name}))  # as it was written before
    assert found(root, days=6.9).findings == ()
    assert locations(found(root, days=7.1)) == [location_of(root, old)]


def test_what_a_kept_build_refers_to_is_kept_until_that_is_found_too(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old = materialise(root, OLD, build)
    first = publish_index(root, old)
    new = materialise(root, NEW, other_content)
    garbage = found(root, references=INDICES)
    assert garbage.findings == ()
    assert garbage.kept == {location_of(root, old): f"index whole {first.directory.name} refers to it"}

    publish_index(root, new, "2")
    assert found(root, days=6.9, references=INDICES).findings == ()  # a young index keeps its clips
    assert locations(found(root, references=INDICES)) == [location_of(root, first), location_of(root, old)]


def test_roots_are_kept_with_what_they_refer_to(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    first = publish_index(root, materialise(root, OLD, build))
    publish_index(root, materialise(root, NEW, other_content), "2")

    def first_index(_: Survey) -> dict[Build, str]:
        return {Build("index", "whole", first.directory.name): "accepted"}

    garbage = found(root, references=replace(INDICES, roots=first_index))
    assert garbage.findings == ()
    assert next(iter(garbage.kept.values())) == "accepted"
    assert len(garbage.kept) == 2


def test_a_directory_without_a_manifest_is_found_once_its_files_are_old(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    directory = Path(old.directory.path)
    (directory / "manifest.json").unlink()
    make_old(directory, days=6)
    assert found(root, days=0.9).findings == ()
    (finding,) = found(root, days=1.1).findings
    assert finding.location == location_of(root, old)
    assert finding.why == "no manifest: an upload or removal was cut short, files of 7.1 days ago"


def test_a_build_that_was_never_named_is_found_when_it_is_old(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    published = materialise_small(root)
    (Path(published.directory.path).parent / "current.json").unlink()
    assert found(root, days=6.9).findings == ()
    (finding,) = found(root).findings
    assert finding.why == "never current, finished 8.0 days ago"


def test_where_the_current_build_is_gone_the_others_are_kept(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    shutil.rmtree(new.directory.path)
    garbage = found(root)
    assert garbage.findings == ()
    assert "may be the last good one" in garbage.kept[location_of(root, old)]


def test_a_manifest_of_another_version_keeps_its_build_and_of_who_refers_stops_everything(
    tmp_path: Path,
) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    manifest = Path(old.directory.path, "manifest.json")
    manifest.write_text('{"manifest_version": 99}')
    garbage = found(root)
    assert garbage.findings == ()
    assert "its manifest cannot be read: manifest of version 99" in garbage.kept[location_of(root, old)]
    with pytest.raises(ValueError, match=f"{location_of(root, old)}: its manifest cannot be read"):
        found(root, references=replace(NOBODY, published={"clips": lambda _, __, ___: []}))


def test_a_damaged_pointer_stops_everything(tmp_path: Path) -> None:
    _, new = supersede(UPath(tmp_path))
    (Path(new.directory.path).parent / "current.json").write_text("{")
    with pytest.raises(ValueError, match=r"current\.json is damaged"):
        found(UPath(tmp_path))


def test_a_damaged_note_of_what_a_build_reads_stops_everything(tmp_path: Path) -> None:
    folder = tmp_path / ".building" / "clips" / "batch-0000"
    (folder / "0123456789abcdef").mkdir(parents=True)
    (folder / "0123456789abcdef.reads.json").write_text("{}")
    with pytest.raises(ValueError, match=r"0123456789abcdef\.reads\.json is damaged"):
        found(UPath(tmp_path))


def test_work_that_failed_is_found_when_nobody_went_on_with_it(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, raising(OSError("no space")))
    work = f".building/clips/batch-0000/{OLD.fingerprint[:16]}"
    assert (local(root) / f"{work}.reads.json").is_file()
    assert found(root, days=6.9).findings == ()
    (finding,) = found(root, days=7.1).findings
    assert (finding.kind, finding.location) == ("work", work)
    assert (finding.why, finding.size_bytes) == ("nobody went on with it, last written 7.1 days ago", 10)


@pytest.mark.parametrize(
    ("published", "why"),
    [(OLD, "its result is published"), (NEW, "its recipe is superseded")],
)
def test_work_is_told_apart_by_what_became_of_its_recipe(tmp_path: Path, published: Recipe, why: str) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, raising(OSError("no space")))
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / ".building", kept)
    materialise(root, published, build)
    shutil.copytree(
        kept, tmp_path / ".building", dirs_exist_ok=True
    )  # as a killed upload to a bucket leaves it
    shutil.rmtree(kept)
    assert found(root).findings[0].why == f"{why}, last written 8.0 days ago"


def test_what_lies_beside_work_that_is_gone_is_found_and_locks_are_not(tmp_path: Path) -> None:
    folder = tmp_path / ".building" / "clips" / "batch-0000"
    folder.mkdir(parents=True)
    for name in ("0123456789abcdef.reads.json", "0123456789abcdef.lock"):
        (folder / name).write_text('{"inputs": {}}')
    (folder / "fedcba9876543210.discarded").mkdir()
    garbage = found(UPath(tmp_path))
    assert [Path(one).name for one in locations(garbage)] == [
        "0123456789abcdef.reads.json",
        "fedcba9876543210.discarded",
    ]
    assert garbage.left_alone == ()


def test_a_build_that_goes_on_keeps_its_work_and_what_it_reads_however_long_it_takes(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    index = Recipe("index", "whole", "1", {}, {"batch-0000": old.manifest.content_digest})
    begun, end = Event(), Event()

    def slow(work: Path) -> BuildReport:
        (work / "part.bin").write_bytes(b"half of it")
        make_old(work, days=30)
        begun.set()
        assert end.wait(30)
        return BuildReport({}, {})

    thread = Thread(target=materialise, args=(root, index, slow))
    thread.start()
    try:
        assert begun.wait(30)
        garbage = found(root, references=INDICES)
        assert garbage.findings == ()
        assert garbage.kept[location_of(root, old)].startswith("read by what is built in ")
        assert locations(found(root)) == [location_of(root, old)]  # to who knows of no index
    finally:
        end.set()
        thread.join()


def test_half_written_files_of_processes_that_are_gone_are_found_when_old(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    partition = Path(materialise_small(root).directory.path).parent
    dead = partition / f"current.partial-{dead_process()}-0a1b2c3d.json"
    alive = partition / "current.partial-1-0a1b2c3d.json"
    for path in (dead, alive):
        path.write_text("{}")
    garbage = found(root)
    assert locations(garbage) == [dead.relative_to(tmp_path).as_posix()]
    assert (garbage.findings[0].kind, garbage.left_alone) == ("partial", ())
    assert found(root, days=6.9).findings == ()


def test_records_that_were_cut_short_are_found_and_whole_ones_are_not(tmp_path: Path) -> None:
    for name, files in (("whole", ("figures", "record.json")), ("cut", ("figures",))):
        (tmp_path / "records" / name).mkdir(parents=True)
        for file in files:
            (tmp_path / "records" / name / file).write_text("1234")
    references = replace(NOBODY, records={"records": "record.json"})
    (finding,) = found(UPath(tmp_path), references=references).findings
    assert (finding.kind, finding.location, finding.size_bytes) == ("record", "records/cut", 4)
    assert found(UPath(tmp_path), days=6, references=references).findings == ()


def test_of_pictures_the_newest_of_each_name_stays(tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "clips" / "batch-0000"
    folder.mkdir(parents=True)
    for name, days in (
        ("sheet-aaaa.jpg", 9),
        ("sheet-bbbb.jpg", 8),
        ("sheet-cccc.jpg", 1),
        ("faces-aaaa.jpg", 90),
    ):
        (folder / name).write_bytes(b"123")
        make_old(folder / name, days)
    garbage = found(UPath(tmp_path), days=-0.5, references=replace(NOBODY, drawn=frozenset({"pictures"})))
    assert locations(garbage) == [f"pictures/clips/batch-0000/sheet-{name}.jpg" for name in ("aaaa", "bbbb")]


def test_what_is_not_of_the_layout_is_left_alone_and_told(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    published = materialise_small(root)
    partition = Path(published.directory.path).parent
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "catalog").mkdir()
    (tmp_path / "assets" / "readme").write_text("mine")
    (partition / "backup").mkdir()
    (partition / f"{'0' * 16}-{'1' * 8}").symlink_to(tmp_path / "catalog")
    (tmp_path / ".building" / "clips" / "batch-0000" / "scribble").write_text("mine")
    garbage = found(root, days=1000, references=replace(NOBODY, known=frozenset({"catalog"})))
    assert garbage.findings == ()
    assert garbage.left_alone == (
        "notes.txt: unknown, left alone",
        "assets/readme: unknown, left alone",
        "assets/clips/batch-0000/0000000000000000-11111111: unknown, left alone",
        "assets/clips/batch-0000/backup: unknown, left alone",
        ".building/clips/batch-0000/scribble: unknown, left alone",
    )


@pytest.mark.parametrize("keep_days", [-1.0, 36501.0, float("nan")])
def test_days_out_of_their_bounds_are_refused(keep_days: float) -> None:
    with pytest.raises(ValueError, match=f"keep_days is {keep_days}, need 0 to 36500"):
        Moment.of(keep_days)
