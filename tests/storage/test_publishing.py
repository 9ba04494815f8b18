import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from storage.manifest import Input
from storage.publishing import (
    BuildReport,
    Recipe,
    current,
    materialise,
    published_partitions,
    require_current,
    staleness,
    verify,
)
from tests.conftest import REPOSITORY
from tests.factories.storage.builds import FILES, ClipSettings, build, files_below, materialise_small, recipe


def never(work: Path) -> BuildReport:
    raise AssertionError(f"built in {work}")


def report(work: Path) -> BuildReport:
    return BuildReport(counts={"files": len(list(work.iterdir()))}, refusals={})


def test_materialise_builds_and_writes_the_manifest(tmp_path: Path) -> None:
    published = materialise_small(UPath(tmp_path))

    manifest = published.manifest
    assert (published.built, published.reason) == (True, "not there yet")
    name = f"{recipe().fingerprint[:16]}-{manifest.content_digest[:8]}"
    assert published.directory == UPath(tmp_path / "assets" / "clips" / "batch-0000" / name)
    assert files_below(Path(str(published.directory))) == FILES
    assert manifest.settings == {"minimum_face_px": 48, "mode": "official"}
    assert (manifest.counts, manifest.refusals) == ({"clips": 3}, {"blurred": 1})
    assert manifest.inputs == {"tracks": Input("abc")}
    assert manifest.files["index.json"].size_bytes == 2
    assert list(manifest.files) == ["index.json", "parts/a.bin", "shards-000.tar"]
    assert manifest.seconds >= 0
    assert manifest.finished_at.endswith("+00:00")


def test_materialise_again_does_nothing(tmp_path: Path) -> None:
    first = materialise_small(UPath(tmp_path))
    second = materialise(UPath(tmp_path), recipe(), never)
    assert (second.built, second.reason) == (
        False,
        "nothing to do: same inputs, code version and settings",
    )
    assert second.manifest == first.manifest


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (recipe(ClipSettings(minimum_face_px=64)), "setting minimum_face_px: 48 -> 64"),
        (recipe(ClipSettings(mode="square")), 'setting mode: "official" -> "square"'),
        (recipe(code_version="2"), "code version 1 -> 2"),
        (recipe(tracks="abd"), "input tracks changed"),
        (recipe(tracks="abc", clips="x"), "input clips added"),
        (recipe(clips="x"), "input clips added; input tracks removed"),
        (replace(recipe(), settings={"minimum_face_px": 48}), 'setting mode: "official" -> not set'),
        (
            replace(recipe(), settings={"minimum_face_px": 48, "mode": {"side": [1, 2]}}),
            'setting mode: "official" -> not set; setting mode.side: not set -> [1, 2]',
        ),
    ],
)
def test_materialise_gives_the_reason_of_a_rebuild(tmp_path: Path, wanted: Recipe, reason: str) -> None:
    root = UPath(tmp_path)
    materialise_small(root)
    assert staleness(root, wanted) == reason
    published = materialise(root, wanted, build)
    assert (published.built, published.reason) == (True, reason)
    assert staleness(root, wanted) is None


def test_previous_build_is_made_current_again(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    first = materialise_small(root)
    materialise(root, recipe(ClipSettings(minimum_face_px=64)), build)

    back = materialise(root, recipe(), never)

    assert not back.built
    assert (
        back.reason == "nothing to do: built before, made current again (setting minimum_face_px: 64 -> 48)"
    )
    assert back.directory == first.directory
    assert staleness(root, recipe()) is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(None, "file parts/a.bin is missing"), (b"cut", "file parts/a.bin has 3 bytes instead of 6000")],
)
def test_missing_or_truncated_file_is_built_again(tmp_path: Path, damage: bytes | None, reason: str) -> None:
    root = UPath(tmp_path)
    victim = Path(str(materialise_small(root).directory)) / "parts" / "a.bin"
    victim.unlink()
    if damage is not None:
        victim.write_bytes(damage)

    assert staleness(root, recipe()) == reason
    published = materialise_small(root)

    assert (published.built, published.reason) == (True, reason)
    assert victim.read_bytes() == FILES["parts/a.bin"]


def test_verify_finds_changed_content(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    published = materialise_small(root)
    victim = Path(str(published.directory)) / "index.json"
    victim.write_bytes(b"[]")

    assert staleness(root, recipe()) is None
    assert verify(published) == ["index.json"]
    assert verify(materialise_small(root, force=True)) == []
    assert victim.read_bytes() == b"{}"


def test_force_builds_from_an_empty_directory(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    first = materialise_small(root)
    work = tmp_path / ".building" / "clips" / "batch-0000" / recipe().fingerprint[:16]
    work.mkdir()
    (work / "index.json").write_bytes(b"of a killed run")

    forced = materialise_small(root, force=True)

    assert (forced.built, forced.reason) == (True, "forced")
    assert forced.directory == first.directory
    assert forced.manifest == first.manifest  # the published directory was kept as it was
    assert not work.exists()


def test_build_again_with_the_same_files_names_its_new_inputs(tmp_path: Path) -> None:
    def inputs(location: str) -> Recipe:
        return replace(recipe(), inputs={"tracks": Input("abc", location)})

    first = materialise(UPath(tmp_path), inputs("assets/tracks/batch-0000/old"), build)
    again = materialise(UPath(tmp_path), inputs("assets/tracks/batch-0000/new"), build, force=True)
    assert again.directory == first.directory
    assert again.manifest.finished_at == first.manifest.finished_at
    published = current(UPath(tmp_path), "clips", "batch-0000")
    assert published is not None
    assert published.manifest == again.manifest
    assert published.manifest.inputs == {"tracks": Input("abc", "assets/tracks/batch-0000/new")}


def test_build_resumes_in_the_work_directory(tmp_path: Path) -> None:
    root = UPath(tmp_path)

    def failing(work: Path) -> BuildReport:
        (work / "shards-000.tar").write_bytes(FILES["shards-000.tar"])
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        materialise(root, recipe(), failing)
    assert current(root, "clips", "batch-0000") is None

    published = materialise(root, recipe(), report)

    assert published.manifest.counts == {"files": 1}
    assert list(published.manifest.files) == ["shards-000.tar"]


def test_hidden_and_partial_names_are_not_published(tmp_path: Path) -> None:
    def untidy(work: Path) -> BuildReport:
        for name in (".state/x", "kept/.y", "kept/z.partial-1-ab.tar", "kept/file"):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(b"")
        return report(work)

    published = materialise(UPath(tmp_path), recipe(), untidy)

    assert list(published.manifest.files) == ["kept/file"]
    assert files_below(Path(str(published.directory))) == {"kept/file": b""}


def test_build_without_files_is_published(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    assert materialise(root, recipe(), report).manifest.files == {}
    assert staleness(root, recipe()) is None


@pytest.mark.parametrize("name", ["link", "manifest.json"])
def test_build_must_not_leave_links_or_a_manifest(tmp_path: Path, name: str) -> None:
    def linking(work: Path) -> BuildReport:
        (work / name).symlink_to(tmp_path) if name == "link" else (work / name).write_text("{}")
        return report(work)

    with pytest.raises(ValueError, match=f"{name} cannot be published"):
        materialise(UPath(tmp_path), recipe(), linking)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "ä"])
def test_recipe_refuses_unsafe_names(name: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        Recipe("clips", name, "1", {}, {})


@pytest.mark.parametrize("settings", [3, None, ["x"]])
def test_recipe_refuses_settings_that_are_no_mapping(settings: object) -> None:
    with pytest.raises(TypeError, match="settings must be a dataclass instance or a mapping"):
        Recipe("clips", "b", "1", settings, {})


def test_recipe_fingerprint_depends_on_every_field() -> None:
    changes: list[Mapping[str, object]] = [
        {"asset": "x"},
        {"partition": "x"},
        {"code_version": "x"},
        {"settings": ClipSettings(mode="x")},
        {"inputs": {"tracks": Input("x")}},
    ]
    fingerprints = {recipe().fingerprint} | {replace(recipe(), **change).fingerprint for change in changes}
    assert len(fingerprints) == 6


def test_recipe_fingerprint_ignores_input_locations() -> None:
    moved = {"tracks": Input("abc", "assets/tracks/b0/0-0", build_only=True)}
    assert replace(recipe(), inputs=moved).fingerprint == recipe().fingerprint


# -- two processes ------------------------------------------------------------------------------

WAITING_BUILD = """
import json, logging, os, sys, time
from pathlib import Path
from upath import UPath
from storage.publishing import materialise
from tests.factories.storage.builds import build, recipe

logging.basicConfig(level=logging.INFO)
meeting = Path(sys.argv[2])

def build_when_told(work):
    if "--with-a-worker" in sys.argv:
        worker = os.fork()
        if worker == 0:
            time.sleep(600)
            os._exit(0)
        (meeting / "worker").write_text(str(worker))
    (meeting / "building").touch()
    while not (meeting / "go").exists():
        time.sleep(0.01)
    return build(work)

published = materialise(UPath(sys.argv[1]), recipe(), build_when_told)
print(json.dumps([published.built, published.reason]))
"""


def start(root: Path, meeting: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WAITING_BUILD, str(root), str(meeting), *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear in a minute")


def start_two(tmp_path: Path) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """One process in the middle of its build, and a second that has said that it waits for it."""
    first = start(tmp_path / "root", tmp_path)
    wait_for(tmp_path / "building")
    second = start(tmp_path / "root", tmp_path)
    assert second.stderr is not None
    assert "Waiting for another process that builds in" in second.stderr.readline()
    return first, second


def test_concurrent_runs_build_once(tmp_path: Path) -> None:
    first, second = start_two(tmp_path)
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [json.loads(output[0]) for output in outputs] == [
        [True, "not there yet"],
        [False, "nothing to do: another run has just built it"],
    ]
    assert outputs[1][1] == ""  # it said only once that it waits


def test_lock_is_released_by_a_killed_process(tmp_path: Path) -> None:
    first, second = start_two(tmp_path)
    first.kill()
    assert first.wait(timeout=60) == -signal.SIGKILL
    first.communicate()
    (tmp_path / "go").touch()
    assert json.loads(second.communicate(timeout=60)[0]) == [True, "not there yet"]


def test_lock_is_not_held_by_orphaned_workers(tmp_path: Path) -> None:
    first = start(tmp_path / "root", tmp_path, "--with-a-worker")
    wait_for(tmp_path / "building")
    worker = int((tmp_path / "worker").read_text())
    first.kill()
    first.wait(timeout=60)
    try:
        (tmp_path / "go").touch()
        second = start(tmp_path / "root", tmp_path)
        assert json.loads(second.communicate(timeout=60)[0]) == [True, "not there yet"]
    finally:
        os.kill(worker, signal.SIGKILL)
        first.communicate()


def test_materialise_again_imports_nothing_heavy(tmp_path: Path) -> None:
    materialise_small(UPath(tmp_path))
    program = (
        "import sys\n"
        "from storage.root import open_root\n"
        "from tests.factories.storage.builds import materialise_small\n"
        f"assert not materialise_small(open_root({str(tmp_path)!r})).built\n"
        "heavy = {'dagster', 'filelock', 'numpy', 'obstore', 'pyarrow', 'requests', 'torch'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_require_current_lists_the_partitions_that_are_published(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    with pytest.raises(ValueError, match=r"no clips of 'batch-0001' under .*; available: none"):
        require_current(root, "clips", "batch-0001")
    published = materialise_small(root)
    (tmp_path / "assets" / "clips" / "unfinished").mkdir()
    assert published_partitions(root, "clips") == ["batch-0000"]
    assert require_current(root, "clips", "batch-0000").manifest == published.manifest
    with pytest.raises(ValueError, match=r"no clips of '../x' under .*; available: batch-0000"):
        require_current(root, "clips", "../x")
