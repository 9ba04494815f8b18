"""SIGKILL before every single change in the file system, then a second run."""

import shutil
from pathlib import Path

import pytest
from upath import UPath

from storage.publishing import current, staleness, verify
from tests.factories.storage.builds import (
    FILES,
    files_below,
    killed_at_every_change,
    materialise_small,
    recipe,
)


def test_build_killed_anywhere_is_completed_by_the_next(
    tmp_path: Path,
) -> None:
    def fresh(number: int) -> Path:
        root = tmp_path / str(number)
        root.mkdir()
        return root

    outcomes: list[bool] = []
    for number in killed_at_every_change(fresh, materialise_small):
        root = UPath(tmp_path / str(number))
        before = current(root, "clips", "batch-0000")
        assert before is None or (verify(before) == [] and set(before.manifest.files) == set(FILES))

        published = materialise_small(root)

        outcomes.append(published.built)
        assert_whole(root, published.directory)
    assert len(outcomes) > 20
    assert set(outcomes) == {True, False}  # some kills came after the files were placed


@pytest.mark.parametrize("damaged", [False, True])
def test_rebuild_killed_anywhere_is_completed_by_the_next(tmp_path: Path, damaged: bool) -> None:
    seed = tmp_path / "seed"
    materialise_small(UPath(seed))

    def with_a_build(number: int) -> Path:
        root = tmp_path / str(number)
        shutil.copytree(seed, root)
        if damaged:
            next(root.rglob("a.bin")).write_bytes(b"second")
        return root

    def rebuild(root: UPath) -> None:
        materialise_small(root, force=not damaged)

    kills = 0
    for number in killed_at_every_change(with_a_build, rebuild):
        kills += 1
        root = UPath(tmp_path / str(number))
        if not damaged:
            assert staleness(root, recipe()) is None
        assert_whole(root, materialise_small(root).directory)
    assert kills > 20


def assert_whole(root: UPath, directory: UPath) -> None:
    """What is published is what an undisturbed run publishes, and nothing half-done lies beside it."""
    assert files_below(Path(str(directory))) == FILES
    assert staleness(root, recipe()) is None
    published = current(root, "clips", "batch-0000")
    assert published is not None
    assert published.directory == directory
    assert verify(published) == []
    names = {path.name for path in Path(str(directory.parent)).iterdir()}
    # A run that finds nothing to do cleans nothing: a half-written pointer may lie there till the next build.
    assert {name for name in names if ".partial-" not in name} == {directory.name, "current.json"}
