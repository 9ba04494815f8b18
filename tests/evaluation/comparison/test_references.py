"""Who refers to whom: what trained and baseline runs need is not collected, and what nobody needs is."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from upath import UPath

from evaluation.comparison.baseline_runs import BASELINE_NAME, BaselineRun
from evaluation.comparison.references import find_references
from preprocessing.dataset.index import ShardSet
from preprocessing.dataset.joining import DatasetSettings, make_dataset
from storage.gc.findings import Garbage, Moment
from storage.gc.removal import remove_garbage
from storage.gc.unreferenced import find_garbage
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from tests.factories.published_steps import make_clip, make_sample, publish_shard
from training.data.index import read_clip_index
from training.data.shard_reader import ReaderSettings, ShardReader
from training.engine.weights_digest import weights_digest

NONE: frozenset[str] = frozenset()
LATER = Moment.of(7.0, datetime.now(UTC) + timedelta(days=8))


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    return UPath(tmp_path)


def publish(
    root: UPath,
    asset: str,
    partition: str,
    inputs: Mapping[str, str],
    name: str = "weights.safetensors",
    text: str = "",
) -> Published:
    """A build of one file; its text, or else its inputs, tells it from others."""

    def write(work: Path) -> BuildReport:
        (work / name).write_text(text or json.dumps([asset, partition, dict(inputs)]))
        return BuildReport({}, {})

    return materialise(root, Recipe(asset, partition, "1", {}, inputs), write, force=True)


def publish_shards(root: UPath, frames: int) -> Published:
    """A batch's shards: two clips of one person."""

    def write(work: Path) -> BuildReport:
        samples = [make_sample(make_clip(f"video{part}", "anna", frames=frames)) for part in "ab"]
        made = publish_shard(work / "made", "b0-000.tar", samples)
        for path in made.iterdir():
            path.rename(work / path.name)
        made.rmdir()
        return BuildReport({}, {})

    return materialise(root, Recipe("shards", "b0", "1", {}, {"clips": str(frames)}), write)


def publish_dataset(root: UPath, shards: Published) -> Published:
    digest = shards.manifest.content_digest
    told = {name: record.sha256 for name, record in shards.manifest.files.items()}
    shard_set = ShardSet(Path(shards.directory.path), location_of(root, shards), told)

    def write(work: Path) -> BuildReport:
        return make_dataset({"b0": shard_set}, {}, DatasetSettings(pictured_samples=1), work)

    return materialise(root, Recipe("dataset", "whole", "1", {}, {"b0": digest}), write)


def location_of(root: UPath, published: Published) -> str:
    return published.directory.path.removeprefix(root.path).strip("/")


def collect(root: UPath, keep_baselines: int = 2) -> Garbage:
    references = find_references(root, keep_baselines, drawn=NONE, known=NONE, known_scratch=NONE)
    garbage = find_garbage(root, references, LATER)
    assert remove_garbage(root, garbage, references, LATER).spared == ()
    return garbage


def locations(garbage: Garbage) -> list[str]:
    return [finding.location for finding in garbage.findings]


def test_a_loader_reads_the_old_data_set_of_a_trained_run_until_the_run_is_trained_anew(root: UPath) -> None:
    old_shards = publish_shards(root, frames=2)
    old = publish_dataset(root, old_shards)
    publish(root, "stage1_motion", "mine", {"dataset": old.manifest.content_digest})
    new = publish_dataset(root, publish_shards(root, frames=3))
    assert current(root, "shards", "b0") != old_shards

    garbage = collect(root)
    assert garbage.findings == ()
    assert set(garbage.kept) == {location_of(root, old), location_of(root, old_shards)}
    index = read_clip_index(Path(old.directory.path), Path(root.path), "train")
    reader = ShardReader(index, ReaderSettings())
    assert [index.frame_counts.tolist(), reader.rows(0, "pose.npy", (2, 6), 0, 2).shape] == [[2, 2], (2, 6)]
    reader.close()

    publish(root, "stage1_motion", "mine", {"dataset": new.manifest.content_digest})
    stage, dataset, shards = locations(collect(root))
    assert stage.startswith("assets/stage1_motion/mine/")
    assert (dataset, shards) == (location_of(root, old), location_of(root, old_shards))
    now = read_clip_index(Path(new.directory.path), Path(root.path), "train")
    assert all(path.is_file() for path in now.shard_paths)


def test_a_stage_keeps_the_weights_that_it_was_trained_from_whatever_run_they_are_of(root: UPath) -> None:
    perception = publish(root, "perception", "base", {}, text="old weights")
    publish(root, "stage1_motion", "mine", {"perception": weights_digest(perception)})
    publish(root, "perception", "base", {"dataset": "d" * 64})
    garbage = collect(root)
    assert garbage.findings == ()
    assert list(garbage.kept) == [location_of(root, perception)]


def train_and_evaluate(root: UPath, run: str, version: str) -> dict[str, Published]:
    """Data set, perception and third stage, videos, evaluations and report; `version` is in all contents."""
    made = {"dataset": publish(root, "dataset", "whole", {"b0": version}, "index.txt")}
    made["perception"] = publish(
        root, "perception", run, {"dataset": made["dataset"].manifest.content_digest}
    )
    data = {"dataset": made["dataset"].manifest.content_digest}
    made["stage3_expression"] = publish(
        root, "stage3_expression", run, data | {"perception": weights_digest(made["perception"])}
    )
    weights = {"stage3_expression": weights_digest(made["stage3_expression"])}
    made["generated_videos"] = publish(root, "generated_videos", run, data | weights, "videos.txt")
    videos = {"generated_videos": made["generated_videos"].manifest.content_digest}
    evaluations = ("control_evaluation", "lip_sync_evaluation", "quality_evaluation")
    made |= {name: publish(root, name, run, videos, "figures.txt") for name in evaluations}
    digests = {name: made[name].manifest.content_digest for name in (*evaluations, "generated_videos")}
    made["evaluation_report"] = publish(root, "evaluation_report", run, digests, "report.txt")
    return made


def set_baseline(root: UPath, made: Mapping[str, Published], day: int) -> None:
    """As `set_baseline_run` writes it."""
    report = made["evaluation_report"]
    baseline = BaselineRun(
        run=report.manifest.partition,
        note="why",
        set_at=f"2026-01-{day:02d}T00:00:00.000000+00:00",
        report=location_of(root, report),
        report_content=report.manifest.content_digest,
        weights=weights_digest(made["stage3_expression"]),
        dataset=made["dataset"].manifest.content_digest,
    )
    folder = Path(root.path) / baseline.folder
    folder.mkdir(parents=True)
    (folder / BASELINE_NAME).write_text(json.dumps({"baseline_version": 1, **asdict(baseline)}))


def test_inputs_of_the_last_baseline_runs_are_kept(root: UPath) -> None:
    first = train_and_evaluate(root, "default", "first")
    set_baseline(root, first, day=1)
    second = train_and_evaluate(root, "default", "second")
    set_baseline(root, second, day=2)
    train_and_evaluate(root, "default", "third")

    garbage = collect(root, keep_baselines=2)
    assert garbage.findings == ()
    both = {location_of(root, one) for made in (first, second) for one in made.values()}
    assert set(garbage.kept) == both
    assert garbage.kept[location_of(root, first["quality_evaluation"])] == (
        "of run 'default', baseline run of 2026-01-01"
    )

    garbage = collect(root, keep_baselines=1)
    assert set(locations(garbage)) == {location_of(root, one) for one in first.values()}
    assert set(garbage.kept) == {location_of(root, one) for one in second.values()}


def test_baseline_run_without_report_keeps_its_weights(root: UPath) -> None:
    first = train_and_evaluate(root, "default", "first")
    set_baseline(root, first, day=1)
    (Path(first["evaluation_report"].directory.path) / "manifest.json").unlink()
    train_and_evaluate(root, "default", "second")
    kept = collect(root).kept
    weights = {location_of(root, first[name]) for name in ("stage3_expression", "perception", "dataset")}
    assert weights <= set(kept)
    assert location_of(root, first["generated_videos"]) not in kept


def test_a_step_that_is_being_made_keeps_what_it_reads(root: UPath) -> None:
    clips = publish(root, "clips", "b0", {}, "clips.tar", "old clips")
    labels = publish(root, "pose_labels", "b0", {}, "labels.parquet", "old labels")
    publish(root, "clips", "b1", {}, "clips.tar", "old clips")
    publish(root, "pose_labels", "b1", {}, "labels.parquet", "old labels")
    for asset, name in (("clips", "clips.tar"), ("pose_labels", "labels.parquet")):
        publish(root, asset, "b0", {"changed": "1"}, name)
        publish(root, asset, "b1", {"changed": "1"}, name)
    inputs = {
        "clips": clips.manifest.files["clips.tar"].sha256,
        "pose_labels": labels.manifest.content_digest,
    }

    begun, end = Event(), Event()

    def slow(_: Path) -> BuildReport:
        begun.set()
        assert end.wait(30)
        return BuildReport({}, {})

    thread = Thread(target=materialise, args=(root, Recipe("shards", "b0", "1", {}, inputs), slow))
    thread.start()
    try:
        assert begun.wait(30)
        garbage = collect(root)
        assert set(garbage.kept) == {location_of(root, clips), location_of(root, labels)}
        assert {Path(location).parent.name for location in locations(garbage)} == {"b1"}
    finally:
        end.set()
        thread.join()


def test_batches_that_left_the_catalog_are_told_and_left_alone(root: UPath) -> None:
    publish(root, "clips", "b9", {}, "clips.tar")
    garbage = collect(root)
    assert garbage.findings == ()
    assert "not in the catalog: batch b9; their current files are left alone" in garbage.left_alone


def test_keep_baselines_must_be_positive(root: UPath) -> None:
    with pytest.raises(ValueError, match="keep_baselines is 0, need 1 or more"):
        find_references(root, 0, drawn=NONE, known=NONE, known_scratch=NONE)
