"""Finding unreferenced builds and leftovers, and nothing else."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from upath import UPath

from storage.gc.findings import Layout, RetentionWindow
from storage.publishing import BuildReport, Recipe, materialise
from tests.factories.storage.builds import FILES, build, materialise_small
from tests.factories.storage.old_builds import (
    NEW,
    OLD,
    build_other_content,
    dead_process,
    failing_build,
    find,
    index_recipe,
    locations,
    make_old,
    publish_index,
    supersede,
)


def local(root: UPath) -> Path:
    return Path(root.path)


def test_superseded_build_is_found_after_keep_days(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    location = old.location
    recent = find(root, days=6.9)
    assert recent.findings == ()
    assert recent.kept == {location: "recent: superseded 6.9 days ago"}

    (finding,) = find(root, days=7.1).findings
    manifest = Path(old.directory.path) / "manifest.json"
    assert (finding.kind, finding.location, finding.reason) == ("build", location, "superseded 7.1 days ago")
    assert finding.size_bytes == sum(map(len, FILES.values())) + manifest.stat().st_size


def test_current_builds_are_not_found(tmp_path: Path) -> None:
    materialise_small(UPath(tmp_path))
    result = find(UPath(tmp_path), days=1000)
    assert (result.findings, result.kept, result.unknown) == ((), {}, ())


def test_age_counts_from_when_a_build_was_superseded(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    finished = datetime.now(UTC) - timedelta(days=100)
    manifest = replace(old.manifest, finished_at=finished.isoformat())
    Path(old.directory.path, "manifest.json").write_text(manifest.to_json())
    assert find(root, days=0).findings == ()
    assert locations(find(root, days=8)) == [old.location]


def test_build_made_current_again_is_kept(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    assert not materialise(root, OLD, build).built
    assert locations(find(root)) == [new.location]
    materialise(root, NEW, build_other_content)
    assert locations(find(root)) == [old.location]
    assert find(root, days=6.9).findings == ()


def test_superseded_time_defaults_to_the_next_build(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    pointer = Path(new.directory.path).parent / "current.json"
    pointer.write_text(json.dumps({"directory": new.directory.name}))  # as it was written before
    assert find(root, days=6.9).findings == ()
    assert locations(find(root, days=7.1)) == [old.location]


def test_inputs_of_kept_builds_are_kept(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old = materialise(root, OLD, build)
    first = publish_index(root, old)
    new = materialise(root, NEW, build_other_content)
    result = find(root)
    assert result.findings == ()
    assert result.kept == {old.location: f"input of index whole {first.directory.name}"}

    publish_index(root, new, "2")
    assert find(root, days=6.9).findings == ()  # a recent index keeps its clips
    assert locations(find(root)) == [first.location, old.location]


def test_roots_are_kept_with_their_inputs(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    first = publish_index(root, materialise(root, OLD, build))
    publish_index(root, materialise(root, NEW, build_other_content), "2")

    result = find(root, roots=lambda: {first.location: "a baseline", "assets/index/whole/gone": "missing"})
    assert result.findings == ()
    assert list(result.kept.values()) == ["a baseline", f"input of index whole {first.directory.name}"]


def test_build_only_inputs_are_not_kept(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old = materialise(root, OLD, build)
    publish_index(root, old)
    read = {"batch-0000": old.as_input(build_only=True)}
    materialise(root, Recipe("index", "whole", "2", {}, read), build_other_content)
    materialise(root, NEW, build_other_content)
    first, clips = locations(find(root))
    assert first.startswith("assets/index/whole/")
    assert clips == old.location


def test_directory_without_manifest_is_found_when_old(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    directory = Path(old.directory.path)
    (directory / "manifest.json").unlink()
    make_old(directory, days=6)
    assert find(root, days=0.9).findings == ()
    (finding,) = find(root, days=1.1).findings
    assert finding.location == old.location
    assert finding.reason == "no manifest: interrupted upload or removal, last written 7.1 days ago"


def test_build_that_was_never_current_is_found_when_old(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    published = materialise_small(root)
    (Path(published.directory.path).parent / "current.json").unlink()
    assert find(root, days=6.9).findings == ()
    (finding,) = find(root).findings
    assert finding.reason == "never current, finished 8.0 days ago"


def test_other_builds_are_kept_if_the_current_is_gone(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    shutil.rmtree(new.directory.path)
    result = find(root)
    assert result.findings == ()
    assert "may be the last good one" in result.kept[old.location]


def test_unreadable_manifest_is_an_error(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    for published in supersede(root):
        manifest = Path(published.directory.path, "manifest.json")
        text = manifest.read_text()
        manifest.write_text('{"manifest_version": 99}')
        with pytest.raises(ValueError, match=f"^{published.location}: cannot read its manifest"):
            find(root)
        manifest.write_text(text)


def test_damaged_pointer_is_an_error(tmp_path: Path) -> None:
    _, new = supersede(UPath(tmp_path))
    (Path(new.directory.path).parent / "current.json").write_text("{")
    with pytest.raises(ValueError, match=r"current\.json is damaged"):
        find(UPath(tmp_path))


def test_damaged_inputs_of_a_work_directory_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ".building" / "clips" / "batch-0000"
    (folder / "0123456789abcdef").mkdir(parents=True)
    (folder / "0123456789abcdef.inputs.json").write_text("{}")
    with pytest.raises(ValueError, match=r"0123456789abcdef\.inputs\.json is damaged"):
        find(UPath(tmp_path))


def test_abandoned_work_directory_is_found(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, failing_build(OSError("no space")))
    work = f".building/clips/batch-0000/{OLD.fingerprint[:16]}"
    assert (local(root) / f"{work}.inputs.json").is_file()
    assert find(root, days=6.9).findings == ()
    (finding,) = find(root, days=7.1).findings
    assert (finding.kind, finding.location) == ("work", work)
    assert (finding.reason, finding.size_bytes) == ("interrupted build, last written 7.1 days ago", 10)


@pytest.mark.parametrize(
    ("published", "why"),
    [(OLD, "its result is published"), (NEW, "a later build is current")],
)
def test_reason_of_an_abandoned_work_directory(tmp_path: Path, published: Recipe, why: str) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, failing_build(OSError("no space")))
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / ".building", kept)
    materialise(root, published, build)
    shutil.copytree(
        kept, tmp_path / ".building", dirs_exist_ok=True
    )  # as a killed upload to a bucket leaves it
    shutil.rmtree(kept)
    assert find(root).findings[0].reason == f"{why}, last written 8.0 days ago"


def test_leftovers_beside_work_are_found_but_not_locks(tmp_path: Path) -> None:
    folder = tmp_path / ".building" / "clips" / "batch-0000"
    folder.mkdir(parents=True)
    for name in ("0123456789abcdef.inputs.json", "0123456789abcdef.lock"):
        (folder / name).write_text('{"inputs": {}}')
    (folder / "fedcba9876543210.discarded").mkdir()
    result = find(UPath(tmp_path))
    assert [Path(location).name for location in locations(result)] == [
        "0123456789abcdef.inputs.json",
        "fedcba9876543210.discarded",
    ]
    assert result.unknown == ()


def test_running_build_keeps_its_work_and_inputs(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    begun, end = Event(), Event()

    def slow(work: Path) -> BuildReport:
        (work / "part.bin").write_bytes(b"half of it")
        make_old(work, days=30)
        begun.set()
        assert end.wait(30)
        return BuildReport({}, {})

    thread = Thread(target=materialise, args=(root, index_recipe(old), slow))
    thread.start()
    try:
        assert begun.wait(30)
        result = find(root)
        assert result.findings == ()
        assert result.kept[old.location].startswith("read by the build in ")
    finally:
        end.set()
        thread.join()


def test_partial_files_of_dead_processes_are_found(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    partition = Path(materialise_small(root).directory.path).parent
    dead = partition / f"current.partial-{dead_process()}-0a1b2c3d.json"
    alive = partition / "current.partial-1-0a1b2c3d.json"
    for path in (dead, alive):
        path.write_text("{}")
    result = find(root)
    assert locations(result) == [dead.relative_to(tmp_path).as_posix()]
    assert (result.findings[0].kind, result.unknown) == ("partial", ())
    assert find(root, days=6.9).findings == ()


def test_incomplete_records_are_found(tmp_path: Path) -> None:
    for name, files in (("whole", ("figures", "record.json")), ("cut", ("figures",))):
        (tmp_path / "records" / name).mkdir(parents=True)
        for file in files:
            (tmp_path / "records" / name / file).write_text("1234")
    layout = Layout(records={"records": "record.json"})
    (finding,) = find(UPath(tmp_path), layout=layout).findings
    assert (finding.kind, finding.location, finding.size_bytes) == ("record", "records/cut", 4)
    assert find(UPath(tmp_path), days=6, layout=layout).findings == ()


def test_newest_picture_of_each_name_is_kept(tmp_path: Path) -> None:
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
    result = find(UPath(tmp_path), days=-0.5, layout=Layout(redrawn=frozenset({"pictures"})))
    assert locations(result) == [f"pictures/clips/batch-0000/sheet-{name}.jpg" for name in ("aaaa", "bbbb")]


def test_unknown_files_are_left_alone_and_listed(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    published = materialise_small(root)
    partition = Path(published.directory.path).parent
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "catalog").mkdir()
    (tmp_path / "assets" / "readme").write_text("mine")
    (partition / "backup").mkdir()
    (partition / f"{'0' * 16}-{'1' * 8}").symlink_to(tmp_path / "catalog")
    (tmp_path / ".building" / "clips" / "batch-0000" / "scribble").write_text("mine")
    result = find(root, days=1000, layout=Layout(ignored=frozenset({"catalog"})))
    assert result.findings == ()
    assert result.unknown == (
        "notes.txt",
        "assets/readme",
        "assets/clips/batch-0000/0000000000000000-11111111",
        "assets/clips/batch-0000/backup",
        ".building/clips/batch-0000/scribble",
    )


@pytest.mark.parametrize("keep_days", [-1.0, 36501.0, float("nan")])
def test_retention_window_refuses_invalid_days(keep_days: float) -> None:
    with pytest.raises(ValueError, match=f"keep_days must be 0 to 36500, got {keep_days}"):
        RetentionWindow.of(keep_days)
