"""Evaluation on a full disk: one line, nothing published in part, and completed once there is room."""

from collections.abc import Callable
from pathlib import Path

import pytest
from upath import UPath

from evaluation.generation.generate import run_generated_videos
from evaluation.report.build import ReportSettings, run_report
from evaluation.suites.quality import run_quality_evaluation
from storage.disk import DiskError
from storage.publishing import Published, current, verify
from tests.factories.evaluation.evaluation_root import TOY_EVALUATION, evaluation_root
from tests.factories.evaluation.report import publish_evaluations
from tests.factories.storage.builds import files_below
from tests.factories.storage.small_disk import SmallDisk, small_disk

KIBIBYTE = 1024
FREE_BYTES = (0, 8 * KIBIBYTE, 64 * KIBIBYTE)  # before the first file, within it, before the last


def check(disk: SmallDisk, root: UPath, run: Callable[[], Published], free_bytes: int) -> None:
    expected = files_below(Path(run().directory.path))
    published = run()
    assert not published.built
    asset, partition = published.manifest.asset, published.manifest.partition
    (Path(published.directory.path).parent / "current.json").unlink()
    for path in sorted(Path(published.directory.path).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(published.directory.path).rmdir()
    disk.fill(free_bytes)
    with pytest.raises(DiskError, match="no space left on the disk") as error:
        run()
    assert "\n" not in str(error.value)
    assert current(root, asset, partition) is None
    assert disk.partials() == []
    disk.clear()
    again = run()
    assert verify(again) == []
    assert files_below(Path(again.directory.path)) == expected


@pytest.mark.parametrize("free_bytes", FREE_BYTES)
def test_report_on_a_full_disk_is_completed_once_there_is_room(tmp_path: Path, free_bytes: int) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        root = UPath(disk.path / "root")
        publish_evaluations(root)
        check(disk, root, lambda: run_report(root, "default", ReportSettings()), free_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("free_bytes", FREE_BYTES)
def test_evaluation_on_a_full_disk_is_completed_once_there_is_room(tmp_path: Path, free_bytes: int) -> None:
    with small_disk(tmp_path / "disk", 64) as disk, evaluation_root(disk.path / "root") as root:
        check(disk, root, lambda: run_generated_videos(root, TOY_EVALUATION), free_bytes)
        check(disk, root, lambda: run_quality_evaluation(root, TOY_EVALUATION), 0)
