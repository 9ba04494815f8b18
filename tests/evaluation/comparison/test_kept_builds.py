"""Garbage collection keeps what trained runs, baseline runs and running builds need."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from upath import UPath

from evaluation.comparison.baseline_runs import (
    BASELINE_NAME,
    BASELINES_FOLDER,
    BaselineRun,
    builds_of_baselines,
)
from preprocessing.dataset.joining import DatasetSettings, PreviousDataset, ShardSet, make_dataset
from storage.gc.findings import Layout, RetentionWindow, Unreferenced
from storage.gc.removal import remove_findings
from storage.gc.unreferenced import find_unreferenced
from storage.manifest import Input
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from tests.factories.preprocessing.published_steps import make_clip, make_sample, publish_shard
from training.data.index import read_clip_index
from training.data.shard_reader import ReaderSettings, ShardReader
from training.engine.weights_digest import weights_digest

LAYOUT = Layout(records={BASELINES_FOLDER: BASELINE_NAME})
LATER = RetentionWindow.of(7.0, datetime.now(UTC) + timedelta(days=8))


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    return UPath(tmp_path)


def publish(
    root: UPath,
    asset: str,
    partition: str,
    inputs: Mapping[str, Input],
    name: str = "weights.safetensors",
    text: str = "",
) -> Published:
    """A build of one file; its content is the text, or else made from its inputs."""

    def write(work: Path) -> BuildReport:
        (work / name).write_text(
            text or json.dumps([asset, partition, {name: value.digest for name, value in inputs.items()}])
        )
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

    return materialise(root, Recipe("shards", "b0", "1", {}, {"clips": Input(str(frames))}), write)


def publish_dataset(root: UPath, shards: Published) -> Published:
    digests = {name: record.sha256 for name, record in shards.manifest.files.items()}
    shard_set = ShardSet(Path(shards.directory.path), shards.location, digests)

    def write(work: Path) -> BuildReport:
        return make_dataset({"b0": shard_set}, PreviousDataset(), DatasetSettings(pictured_samples=1), work)

    return materialise(root, Recipe("dataset", "whole", "1", {}, {"b0": shards.as_input()}), write)


def run_gc(root: UPath, keep_baselines: int = 2) -> Unreferenced:
    """Find unreferenced builds and remove them."""
    roots = partial(builds_of_baselines, root, keep_baselines)
    unreferenced = find_unreferenced(root, roots, LAYOUT, LATER)
    assert remove_findings(root, unreferenced, roots, LAYOUT, LATER).skipped == ()
    return unreferenced


def locations(unreferenced: Unreferenced) -> list[str]:
    return [finding.location for finding in unreferenced.findings]


def test_data_set_of_a_trained_run_stays_readable(root: UPath) -> None:
    old_shards = publish_shards(root, frames=2)
    old = publish_dataset(root, old_shards)
    publish(root, "stage1_motion", "mine", {"dataset": old.as_input()})
    new = publish_dataset(root, publish_shards(root, frames=3))
    assert current(root, "shards", "b0") != old_shards

    unreferenced = run_gc(root)
    assert unreferenced.findings == ()
    assert set(unreferenced.kept) == {old.location, old_shards.location}
    index = read_clip_index(Path(old.directory.path), Path(root.path), "train")
    reader = ShardReader(index, ReaderSettings())
    assert [index.frame_counts.tolist(), reader.rows(0, "pose.npy", (2, 6), 0, 2).shape] == [[2, 2], (2, 6)]
    reader.close()

    publish(root, "stage1_motion", "mine", {"dataset": new.as_input()})
    stage, dataset, shards = locations(run_gc(root))
    assert stage.startswith("assets/stage1_motion/mine/")
    assert (dataset, shards) == (old.location, old_shards.location)
    now = read_clip_index(Path(new.directory.path), Path(root.path), "train")
    assert all(path.is_file() for path in now.shard_paths)


def test_stage_keeps_the_weights_it_was_trained_from(root: UPath) -> None:
    perception = publish(root, "perception", "base", {}, text="old weights")
    publish(root, "stage1_motion", "mine", {"perception": perception.as_input(weights_digest(perception))})
    publish(root, "perception", "base", {"dataset": Input("d" * 64)})
    unreferenced = run_gc(root)
    assert unreferenced.findings == ()
    assert list(unreferenced.kept) == [perception.location]


def train_and_evaluate(root: UPath, run: str, version: str) -> dict[str, Published]:
    """Data set, perception and third stage, videos, evaluations and report; `version` is in all contents."""

    def weights(stage: str) -> dict[str, Input]:
        return {stage: builds[stage].as_input(weights_digest(builds[stage]))}

    builds = {"dataset": publish(root, "dataset", "whole", {"b0": Input(version)}, "index.txt")}
    data = {"dataset": builds["dataset"].as_input()}
    builds["perception"] = publish(root, "perception", run, data)
    builds["stage3_expression"] = publish(root, "stage3_expression", run, data | weights("perception"))
    rendered = data | weights("stage3_expression")
    builds["generated_videos"] = publish(root, "generated_videos", run, rendered, "videos.txt")
    videos = {"generated_videos": builds["generated_videos"].as_input()}
    evaluations = ("control_evaluation", "lip_sync_evaluation", "quality_evaluation")
    builds |= {name: publish(root, name, run, videos, "records.txt") for name in evaluations}
    measured = {name: builds[name].as_input() for name in (*evaluations, "generated_videos")}
    builds["evaluation_report"] = publish(root, "evaluation_report", run, measured, "report.txt")
    return builds


def set_baseline(root: UPath, builds: Mapping[str, Published], day: int) -> None:
    """As `set_baseline_run` writes it."""
    report = builds["evaluation_report"]
    baseline = BaselineRun(
        run=report.manifest.partition,
        note="why",
        set_at=f"2026-01-{day:02d}T00:00:00.000000+00:00",
        report=report.location,
        report_content=report.manifest.content_digest,
        weights=weights_digest(builds["stage3_expression"]),
        weights_location=builds["stage3_expression"].location,
        dataset=builds["dataset"].manifest.content_digest,
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

    unreferenced = run_gc(root, keep_baselines=2)
    assert unreferenced.findings == ()
    both = {build.location for builds in (first, second) for build in builds.values()}
    assert set(unreferenced.kept) == both
    assert unreferenced.kept[first["evaluation_report"].location] == "baseline run 'default' of 2026-01-01"
    assert unreferenced.kept[first["quality_evaluation"].location] == (
        f"input of evaluation_report default {first['evaluation_report'].directory.name}"
    )

    unreferenced = run_gc(root, keep_baselines=1)
    assert set(locations(unreferenced)) == {build.location for build in first.values()}
    assert set(unreferenced.kept) == {build.location for build in second.values()}


def test_baseline_run_without_report_keeps_its_weights(root: UPath) -> None:
    first = train_and_evaluate(root, "default", "first")
    set_baseline(root, first, day=1)
    (Path(first["evaluation_report"].directory.path) / "manifest.json").unlink()
    train_and_evaluate(root, "default", "second")
    kept = run_gc(root).kept
    weights = {first[name].location for name in ("stage3_expression", "perception", "dataset")}
    assert weights <= set(kept)
    assert first["generated_videos"].location not in kept


def test_running_step_keeps_its_inputs(root: UPath) -> None:
    clips = publish(root, "clips", "b0", {}, "clips.tar", "old clips")
    labels = publish(root, "pose_labels", "b0", {}, "labels.parquet", "old labels")
    publish(root, "clips", "b1", {}, "clips.tar", "old clips")
    publish(root, "pose_labels", "b1", {}, "labels.parquet", "old labels")
    for asset, name in (("clips", "clips.tar"), ("pose_labels", "labels.parquet")):
        publish(root, asset, "b0", {"changed": Input("1")}, name)
        publish(root, asset, "b1", {"changed": Input("1")}, name)
    inputs = {
        "clips": clips.as_input(clips.manifest.files["clips.tar"].sha256, build_only=True),
        "pose_labels": labels.as_input(build_only=True),
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
        unreferenced = run_gc(root)
        assert set(unreferenced.kept) == {clips.location, labels.location}
        assert {Path(location).parent.name for location in locations(unreferenced)} == {"b1"}
    finally:
        end.set()
        thread.join()


def test_keep_baselines_must_be_positive(root: UPath) -> None:
    with pytest.raises(ValueError, match="keep_baselines must be >= 1, got 0"):
        builds_of_baselines(root, 0)
