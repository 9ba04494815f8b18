"""Verify and repair a small real root: a video of a face, its data set, a checkpoint, a baseline."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from upath import UPath

from evaluation.comparison.baseline_runs import set_baseline_run
from evaluation.records import MODEL
from pipelines.cli.main import main
from pipelines.operations.maintenance.verify import verify_root
from preprocessing.clips.selection import ClipSettings
from preprocessing.dataset.joining import DatasetSettings, run_dataset
from preprocessing.orchestration.chosen_settings import adopt
from preprocessing.orchestration.reprocessing import plan_reprocessing, save_plan
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.sources.stored_catalog import SourceSettings, batch_keys, load_batch, scan_sources
from storage.integrity.quarantine import QUARANTINE
from storage.integrity.reading import Night
from storage.publishing import BuildReport, Recipe, current, materialise
from storage.root import open_root
from tests.factories.evaluation.published_reports import publish_report
from tests.factories.evaluation.report import metric_records
from tests.factories.preprocessing.videos import write_face_video
from tests.factories.storage.flips import files_by_kind, flipped_byte
from training.engine.checkpoint import CheckpointFacts, RankState, write_checkpoint

pytestmark = pytest.mark.slow

SETTINGS = PreprocessingSettings(clips=ClipSettings(minimum_mouth_motion=0.001))
ALL = Night(1, 0)
NOT_VERIFIED = (".building/verified", ".building/catalog.lock", ".building/settings.lock", QUARANTINE)


def checkpoint(folder: Path) -> None:
    rank = RankState({"position": 1}, torch.arange(3), None, {})
    tensors = {"net.weight": torch.ones(2)}
    write_checkpoint(folder, CheckpointFacts("stage1_motion", 3, 1, {}, 2), tensors, tensors, {}, [rank])


def trained(work: Path) -> BuildReport:
    checkpoint(work / "checkpoint")
    (work / "metrics.jsonl").write_text("{}\n")
    return BuildReport({}, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root, in a folder with the videos."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "videos").mkdir()
    write_face_video(folder / "videos" / "ann.mp4", 70)
    root = open_root(str(folder / "root"))
    (key,) = scan_sources(root, [folder / "videos"], SourceSettings()).new_batches
    for name in STEPS:
        run_step(root, name, load_batch(root, key), SETTINGS, workers=0)
    dataset = run_dataset(root, DatasetSettings(pictured_samples=1))
    recipe = Recipe("stage1_motion", "run", "1", {}, {"dataset": dataset.as_input()})
    materialise(root, recipe, trained)
    checkpoint(folder / "root/.building/stage1_motion/run" / ("0" * 16) / ".checkpoints")
    save_plan(root, "by hand", plan_reprocessing(root, SETTINGS), dry_run=True)
    adopt(root, {"shards.maximum_shard_mebibytes": 256}, "by hand", "as it was")
    publish_report(root, "old", metric_records("yaw_error", {MODEL: (1.0, 2.0)}, unit="degrees"))
    set_baseline_run(root, "old", "the first")
    return folder


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UPath:
    """A copy of the root, with the same videos."""
    shutil.copytree(made / "root", tmp_path / "root")
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PDFGC_VIDEOS", raising=False)
    return UPath(tmp_path / "root")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def published(root: UPath) -> dict[str, str]:
    """sha256 of every file of the current builds, without manifests."""
    digests: dict[str, str] = {}
    for asset in (*STEPS, "dataset"):
        build = current(root, asset, "whole" if asset == "dataset" else batch_keys(root)[0])
        assert build is not None, asset
        for name in build.manifest.files:
            data = (build.directory / name).read_bytes()
            digests[f"{build.location}/{name}"] = hashlib.sha256(data).hexdigest()
    return digests


def test_a_flipped_byte_in_every_kind_of_file_is_found(root: UPath, made: Path) -> None:
    folder = Path(root.path)
    assert verify_root(root, night=ALL).faults == ()
    kinds = files_by_kind(folder, NOT_VERIFIED)
    kinds["source"] = made / "videos" / "ann.mp4"
    missed: list[str] = []
    for number, (kind, path) in enumerate(kinds.items()):
        share = (0.0, 0.4, 1.0)[number % 3]
        with flipped_byte(path, share):
            lines = [fault.line() for fault in verify_root(root, night=ALL, restart=True).faults]
        shown = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        if not any(line.startswith(shown) or kind.startswith("catalog/") for line in lines):
            missed.append(f"{kind} at {share}")
    assert missed == []
    assert len(kinds) >= 45, sorted(kinds)
    assert verify_root(root, night=ALL).faults == ()


def test_repair_of_damaged_clips_gives_the_same_bytes(root: UPath) -> None:
    before = published(root)
    clips = current(root, "clips", batch_keys(root)[0])
    assert clips is not None
    tar = Path((clips.directory / "clips.tar").path)
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)

    batch = load_batch(root, batch_keys(root)[0])
    with pytest.raises(ValueError, match=r"clips\.tar is damaged: its sha256 is .*; run: pdfgc repair"):
        run_step(root, "pose_labels", batch, SETTINGS, force=True, workers=0)

    shown = run("verify", "--read-data")
    assert shown.exit_code == 1
    assert f"{clips.location}/clips.tar: expected sha256" in shown.output
    assert "mend: pdfgc repair" in shown.output

    dry = run("repair", "--dry-run")
    assert dry.exit_code == 1
    assert f"set aside {clips.location} " in dry.output
    assert "build shards/" in dry.output
    assert tar.is_file()

    repaired = run("repair")
    assert repaired.exit_code == 0, repaired.output
    assert (Path(root.path) / QUARANTINE / clips.location / "clips.tar").read_bytes() == bytes(data)
    assert published(root) == before
    assert "stage1_motion/run" not in run("verify").output  # its inputs were verified, and are the same
    assert run("repair").output.splitlines()[-1] == "nothing to repair"


def test_repair_restores_the_catalog(root: UPath, made: Path) -> None:
    keys = batch_keys(root)
    catalog = Path(root.path) / "catalog"
    good = (catalog / "videos.parquet").read_bytes()
    (catalog / "videos.parquet").write_bytes(good[:-9] + b"?" + good[-8:])
    assert "is damaged: it has sha256" in run("status").output
    assert run("repair", "--no-read").exit_code == 0
    assert (catalog / "videos.parquet").read_bytes() == good
    shutil.rmtree(catalog)
    with pytest.raises(ValueError, match=r"there is no catalog under .*run: pdfgc repair"):
        scan_sources(root, [made / "videos"], SourceSettings())
    lost = run("repair", "--no-read")
    assert lost.exit_code == 1
    assert "name the folders of videos, pdfgc repair --videos FOLDER" in lost.output
    assert run("repair", "--no-read", "--videos", str(made / "videos")).exit_code == 0
    assert batch_keys(root) == keys
    assert verify_root(root, night=ALL).faults == ()


def test_verify_json_and_usage(root: UPath) -> None:
    values = json.loads(run("verify", "--read-data", "--json").output)
    assert values["faults"] == []
    assert values["read"]["files"] > values["files"] > 30
    assert run("verify", "--read-data=0%").exit_code == 2
    assert run("verify", "--read-data=x").exit_code == 2
    (Path(root.path) / "assets/dataset/whole/current.json").unlink()
    broken = run("verify", "--json")
    assert broken.exit_code == 1
    assert [fault["kind"] for fault in json.loads(broken.output)["faults"]] == ["pointer"]
