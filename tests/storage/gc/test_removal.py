"""Removing what was found: nothing that is needed by then, and nothing by halves."""

import os
import shutil
import signal
import sys
import traceback
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from upath import UPath

from storage.gc.findings import References
from storage.gc.removal import Removal, remove_garbage
from storage.publishing import BuildReport, Recipe, current, materialise, staleness, verify
from storage.root import local_copy, open_root
from tests.factories.builds import FILES, build, files_below, materialise_small
from tests.factories.collecting import (
    INDICES,
    NEW,
    NOBODY,
    OLD,
    found,
    is_there,
    later,
    location_of,
    locations,
    make_old,
    other_content,
    publish_index,
    raising,
    supersede,
)


def remove(root: UPath, references: References = NOBODY, days: float = 8) -> Removal:
    garbage = found(root, days, references)
    return remove_garbage(root, garbage, references, later(days))


def test_what_was_found_is_gone_and_what_is_current_is_as_it_was(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    removal = remove(root)
    assert [one.location for one in removal.removed] == [location_of(root, old)]
    assert removal.spared == ()
    assert not Path(old.directory.path).exists()
    assert is_there(new, root)
    assert verify(new) == []
    assert staleness(root, NEW) is None
    assert found(root).findings == ()
    assert materialise(root, OLD, build).built  # not found again, so made again


def test_every_kind_of_leftover_is_removed(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, raising(OSError("no space")))
    (tmp_path / "records" / "cut").mkdir(parents=True)
    (tmp_path / "records" / "cut" / "figures").write_text("1")
    (tmp_path / "pictures").mkdir()
    for name, days in (("sheet-aaaa.jpg", 2), ("sheet-bbbb.jpg", 1)):
        (tmp_path / "pictures" / name).write_bytes(b"1")
        make_old(tmp_path / "pictures" / name, days)
    references = References(
        {}, {}, lambda _: {}, records={"records": "record.json"}, drawn=frozenset({"pictures"})
    )
    removal = remove(root, references)
    assert [one.kind for one in removal.removed] == ["work", "record", "picture"]
    assert found(root, references=references).findings == ()
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"sheet-bbbb.jpg", f"{OLD.fingerprint[:16]}.lock"}


def test_what_is_made_current_or_referred_to_meanwhile_is_spared(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, _ = supersede(root)
    garbage = found(root, references=INDICES)
    assert locations(garbage) == [location_of(root, old)]

    index = publish_index(root, old)
    removal = remove_garbage(root, garbage, INDICES, later(8))
    ((_, why),) = removal.spared
    assert why == f"index whole {index.directory.name} refers to it"

    materialise(root, OLD, build)
    ((_, why),) = remove_garbage(root, garbage, NOBODY, later(8)).spared
    assert why == "current"
    assert verify(old) == []


def test_what_is_gone_meanwhile_is_told_and_stops_nothing(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    supersede(root)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, raising(OSError("no space")), force=True)
    garbage = found(root)
    assert [one.kind for one in garbage.findings] == ["work", "build"]
    remove_garbage(root, garbage, NOBODY, later(8))
    again = remove_garbage(root, garbage, NOBODY, later(8))
    assert [why for _, why in again.spared] == ["it is gone already"] * 2


def test_work_that_somebody_went_on_with_meanwhile_is_spared(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(OSError, match="no space"):
        materialise(root, OLD, raising(OSError("no space")))
    work = tmp_path / ".building" / "clips" / "batch-0000" / OLD.fingerprint[:16]
    make_old(work, days=8)
    garbage = found(root, days=0)
    (work / "part.bin").write_bytes(b"more of it")
    ((_, why),) = remove_garbage(root, garbage, NOBODY, later(0)).spared
    assert why == "it has changed since"


def test_what_is_built_now_is_spared(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    old, new = supersede(root)
    garbage = found(root)
    begun, end = Event(), Event()

    def slow(work: Path) -> BuildReport:
        begun.set()
        assert end.wait(30)
        return build(work)

    thread = Thread(target=materialise, args=(root, OLD, slow), kwargs={"force": True})
    thread.start()
    try:
        assert begun.wait(30)
        removal = remove_garbage(root, garbage, NOBODY, later(8))
        assert [why for _, why in removal.spared] == ["it is being built now"]
        assert is_there(new, root)
    finally:
        end.set()
        thread.join()
    assert is_there(old, root)
    assert verify(old) == []


def test_a_removal_killed_anywhere_leaves_a_build_whole_or_not_there_and_the_next_one_ends_it(
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
    assert outcomes == [True, False, False, False, False, False]  # manifest, three files, two directories


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


def test_in_a_bucket_old_builds_and_cut_uploads_are_found_and_removed(bucket: str) -> None:
    root = open_root(f"{bucket}/people")
    old, new = supersede(root)
    location = location_of(root, old)
    assert found(root, days=6.9).findings == ()
    (finding,) = found(root, days=7.1).findings
    assert (finding.location, finding.why) == (location, "superseded 7.1 days ago")
    assert finding.size_bytes == sum(map(len, FILES.values())) + len(old.manifest.to_json())

    (old.directory / "manifest.json").unlink()
    (finding,) = found(root).findings
    assert finding.why.startswith("no manifest: an upload or removal was cut short")
    assert [one.location for one in remove(root).removed] == [location]
    assert {path.name for path in new.directory.parent.iterdir()} == {new.directory.name, "current.json"}
    assert is_there(new, root)
    assert verify(new) == []


def test_a_whole_build_in_a_bucket_is_removed(bucket: str) -> None:
    root = open_root(bucket)
    old, new = supersede(root)
    (root / "notes.txt").write_bytes(b"mine")
    assert found(root).left_alone == ("notes.txt: unknown, left alone",)
    assert len(remove(root).removed) == 1
    assert current(open_root(bucket), "clips", "batch-0000") is not None
    assert {path.name for path in new.directory.parent.iterdir()} == {new.directory.name, "current.json"}
    assert found(root).findings == ()
    assert old.directory.name != new.directory.name


def test_copies_of_a_bucket_that_nobody_asks_for_are_removed(bucket: str) -> None:
    root = open_root(bucket)
    published = materialise_small(root)
    copy = local_copy(published.directory)
    make_old(copy, days=8)
    assert locations(found(root, days=0)) == [str(copy)]
    assert local_copy(published.directory) == copy  # asked for again
    assert found(root, days=0).findings == ()
    make_old(copy, days=8)
    removal = remove(root, days=0)
    assert [one.kind for one in removal.removed] == ["copy"]
    assert list(copy.parent.iterdir()) == []
    assert files_below(local_copy(published.directory)) == FILES


def test_copies_of_what_a_build_reads_now_stay(bucket: str) -> None:
    root = open_root(bucket)
    published = materialise_small(root)
    copy = local_copy(published.directory)
    make_old(copy, days=8)
    index = Recipe("index", "whole", "1", {}, {"batch-0000": published.manifest.content_digest})
    with pytest.raises(OSError, match="no space"):
        materialise(root, index, raising(OSError("no space")))
    assert found(root, days=0, references=INDICES).findings == ()
    assert locations(found(root, days=0)) == [str(copy)]
    materialise(root, index, other_content)
    assert locations(found(root, days=0, references=INDICES)) == [str(copy)]
