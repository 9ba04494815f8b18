"""Removing findings: nothing that is needed by then, and nothing partially."""

import os
import shutil
import signal
import sys
import time
import traceback
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from upath import UPath

from storage.build_directory import building_lock, lock_path
from storage.gc.findings import Layout
from storage.gc.removal import Removal, remove_findings
from storage.gc.unreferenced import no_roots
from storage.publishing import BuildReport, current, materialise, staleness, verify
from storage.root import local_copy, open_root
from tests.factories.storage.builds import FILES, build, files_below, materialise_small
from tests.factories.storage.old_builds import (
    EMPTY,
    NEW,
    OLD,
    build_other_content,
    failing_build,
    find,
    index_recipe,
    is_current,
    locations,
    make_old,
    publish_index,
    supersede,
    window_in,
)


def remove(root: UPath, layout: Layout = EMPTY, days: float = 8) -> Removal:
    return remove_findings(root, find(root, days, layout), no_roots, layout, window_in(days))


def test_removal_keeps_the_current_build(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    removal = remove(root)
    assert [finding.location for finding in removal.removed] == [old.location]
    assert removal.skipped == ()
    assert not Path(old.directory.path).exists()
    assert is_current(new, root)
    assert verify(new) == []
    assert staleness(root, NEW) is None
    assert find(root).findings == ()
    assert materialise(root, OLD, build).built  # built again, since nothing is left of it


def test_removal_of_every_kind_of_leftover(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, failing_build(OSError("no space")))
    (tmp_path / "records" / "cut").mkdir(parents=True)
    (tmp_path / "records" / "cut" / "figures").write_text("1")
    (tmp_path / "pictures").mkdir()
    for name, days in (("sheet-aaaa.jpg", 2), ("sheet-bbbb.jpg", 1)):
        (tmp_path / "pictures" / name).write_bytes(b"1")
        make_old(tmp_path / "pictures" / name, days)
    layout = Layout(records={"records": "record.json"}, redrawn=frozenset({"pictures"}))
    removal = remove(root, layout)
    assert [finding.kind for finding in removal.removed] == ["work", "record", "picture"]
    assert find(root, layout=layout).findings == ()
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"sheet-bbbb.jpg"}


def test_removal_skips_builds_needed_meanwhile(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    unreferenced = find(root)
    assert locations(unreferenced) == [old.location]

    index = publish_index(root, old)
    removal = remove_findings(root, unreferenced, no_roots, EMPTY, window_in(8))
    ((_, reason),) = removal.skipped
    assert reason == f"input of index whole {index.directory.name}"

    materialise(root, OLD, build)
    ((_, reason),) = remove_findings(root, unreferenced, no_roots, EMPTY, window_in(8)).skipped
    assert reason == "current"
    assert verify(old) == []


def test_removal_skips_what_is_already_gone(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    supersede(root)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, failing_build(OSError("no space")), force=True)
    unreferenced = find(root)
    assert [finding.kind for finding in unreferenced.findings] == ["work", "build"]
    remove_findings(root, unreferenced, no_roots, EMPTY, window_in(8))
    again = remove_findings(root, unreferenced, no_roots, EMPTY, window_in(8))
    assert [reason for _, reason in again.skipped] == ["it is already gone"] * 2


def test_removal_skips_work_resumed_meanwhile(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, failing_build(OSError("no space")))
    work = tmp_path / ".building" / "clips" / "batch-0000" / OLD.fingerprint[:16]
    make_old(work, days=8)
    unreferenced = find(root, days=0)
    (work / "part.bin").write_bytes(b"more of it")
    ((_, reason),) = remove_findings(root, unreferenced, no_roots, EMPTY, window_in(0)).skipped
    assert reason == "it has changed since it was found"


def test_old_locks_without_work_are_removed(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    folder = tmp_path / ".building" / "clips" / "batch-0000"
    held, kept = folder / ("1" * 16), folder / ("2" * 16)
    kept.mkdir()
    lock_path(kept).touch()
    assert lock_path(folder / old.manifest.fingerprint[:16]).is_file()
    remove_findings(root, find(root, days=0), no_roots, EMPTY, window_in(0))
    assert len(list(folder.glob("*.lock"))) == 3  # recent
    with building_lock(held):
        remove_findings(root, find(root), no_roots, EMPTY, window_in(8))
        assert sorted(folder.glob("*.lock")) == [lock_path(held)]
    assert is_current(new, root)


def test_removed_locks_exclude_all_the_same(tmp_path: Path) -> None:
    work = tmp_path / ".building" / "clips" / "batch-0000" / ("3" * 16)
    inside: list[int] = []
    together: list[int] = []
    ended = Event()

    def build_again_and_again() -> None:
        for _ in range(25):
            with building_lock(work):
                inside.append(1)
                together.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    def collect() -> None:
        while not ended.is_set():
            remove_findings(UPath(tmp_path), find(UPath(tmp_path)), no_roots, EMPTY, window_in(8))

    builders = [Thread(target=build_again_and_again) for _ in range(4)]
    collector = Thread(target=collect)
    for thread in (*builders, collector):
        thread.start()
    for thread in builders:
        thread.join()
    ended.set()
    collector.join()
    assert together == [1] * 100


def test_removal_skips_what_is_being_built(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    unreferenced = find(root)
    begun, end = Event(), Event()

    def slow(work: Path) -> BuildReport:
        begun.set()
        assert end.wait(30)
        return build(work)

    thread = Thread(target=materialise, args=(root, OLD, slow), kwargs={"force": True})
    thread.start()
    try:
        assert begun.wait(30)
        removal = remove_findings(root, unreferenced, no_roots, EMPTY, window_in(8))
        assert [reason for _, reason in removal.skipped] == ["it is being built"]
        assert is_current(new, root)
    finally:
        end.set()
        thread.join()
    assert is_current(old, root)
    assert verify(old) == []


def test_removal_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path,
) -> None:
    seed = tmp_path / "seed"
    old, new = supersede(UPath(seed))
    old_name, new_name = old.directory.name, new.directory.name
    outcomes: list[bool] = []
    for number in count():
        root = UPath(shutil.copytree(seed, tmp_path / str(number), symlinks=True))
        make_old(tmp_path / str(number), days=8)
        if not killed_at_removal(number, root):
            break
        partition = tmp_path / str(number) / "assets" / "clips" / "batch-0000"
        is_whole = (partition / old_name / "manifest.json").is_file()
        assert not is_whole or files_below(partition / old_name) == FILES
        outcomes.append(is_whole)
        current_now = current(root, "clips", "batch-0000")
        assert current_now is not None
        assert current_now.directory.name == new_name
        remove(root)
        assert {path.name for path in partition.iterdir()} == {new_name, "current.json"}
        assert verify(current_now) == []
    # Manifest, three files, two directories, what is remembered of its verification, both builds' locks.
    assert outcomes == [True, *[False] * 8]


def killed_at_removal(number: int, root: UPath) -> bool:
    """Remove in a child that is killed before its removal of that number; False: it came to its end."""
    child = os.fork()
    if child == 0:
        seen = count()

        def hook(event: str, _: tuple[Any, ...]) -> None:
            if event in {"os.remove", "os.rmdir"} and next(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            remove(root)
            os._exit(0)
        finally:  # never back into pytest, whatever was raised
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_bucket_old_builds_and_interrupted_uploads(bucket: str) -> None:
    root = open_root(f"{bucket}/people")
    old, new = supersede(root)
    location = old.location
    assert find(root, days=6.9).findings == ()
    (finding,) = find(root, days=7.1).findings
    assert (finding.location, finding.reason) == (location, "superseded 7.1 days ago")
    assert finding.size_bytes == sum(map(len, FILES.values())) + len(old.manifest.to_json())

    (old.directory / "manifest.json").unlink()
    (finding,) = find(root).findings
    assert finding.reason.startswith("no manifest: interrupted upload or removal")
    assert [finding.location for finding in remove(root).removed] == [location]
    assert {path.name for path in new.directory.parent.iterdir()} == {new.directory.name, "current.json"}
    assert is_current(new, root)
    assert verify(new) == []


def test_bucket_complete_build_is_removed(bucket: str) -> None:
    root = open_root(bucket)
    old, new = supersede(root)
    (root / "notes.txt").write_bytes(b"mine")
    assert find(root).unknown == ("notes.txt",)
    assert len(remove(root).removed) == 1
    assert current(open_root(bucket), "clips", "batch-0000") is not None
    assert {path.name for path in new.directory.parent.iterdir()} == {new.directory.name, "current.json"}
    assert find(root).findings == ()
    assert old.directory.name != new.directory.name


def test_unused_local_copies_are_removed(bucket: str) -> None:
    root = open_root(bucket)
    published = materialise_small(root)
    copy = local_copy(published.directory)
    make_old(copy, days=8)
    assert locations(find(root, days=0)) == [str(copy)]
    assert local_copy(published.directory) == copy  # sets the time of the last use
    assert find(root, days=0).findings == ()
    make_old(copy, days=8)
    removal = remove(root, days=0)
    assert [finding.kind for finding in removal.removed] == ["copy"]
    assert list(copy.parent.iterdir()) == []
    assert files_below(local_copy(published.directory)) == FILES


def test_local_copies_of_inputs_being_read_are_kept(bucket: str) -> None:
    root = open_root(bucket)
    published = materialise_small(root)
    copy = local_copy(published.directory)
    make_old(copy, days=8)
    with pytest.raises(OSError, match="no space"):
        materialise(root, index_recipe(published), failing_build(OSError("no space")))
    assert find(root, days=0).findings == ()
    materialise(root, index_recipe(published), build_other_content)
    assert locations(find(root, days=0)) == [str(copy)]


def test_removal_forgets_what_was_verified_of_builds_that_are_gone(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    _, new = supersede(root)
    memories = tmp_path / ".building" / "verified"
    kept = memories / "builds" / "clips" / "batch-0000" / f"{new.directory.name}.json"
    set_aside = kept.with_name(f"{'0' * 16}-{'1' * 8}.json")
    copied = [memories / "copies" / "clips" / "b" / f"{'0' * 16}-{digit * 8}.json" for digit in "12"]
    for path in (set_aside, *copied):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    copy = tmp_path / ".building" / "cache" / ("1" * 64)
    copy.mkdir(parents=True)
    used = time.time() + 30 * 86_400  # within the window, which is days from now
    os.utime(copy, (used, used))
    remove(root)
    assert sorted(path for path in memories.rglob("*.json")) == sorted([kept, copied[0]])
