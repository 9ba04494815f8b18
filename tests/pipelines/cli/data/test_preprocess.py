"""The main job on a small corpus, through Dagster: what comes out, and what a second run does."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import AssetKey, DagsterInstance, SensorResult, SkipReason, build_sensor_context
from rich.console import Console
from upath import UPath

from demo_corpus.corpus import CorpusSettings, make_corpus
from pipelines.checks import run_checks
from pipelines.cli.data.preprocess import PreprocessRequest, run_preprocessing
from pipelines.cli.main import main
from pipelines.definitions import definitions
from pipelines.operations.instance import ensure_dagster_home
from pipelines.preprocessing.batch_builds import BatchBuilds
from pipelines.preprocessing.checks import STEP_CHECKS
from pipelines.preprocessing.planned_batches import planned_batches
from preprocessing.dataset.index import DATASET, WHOLE
from preprocessing.orchestration.chosen_settings import read_chosen
from preprocessing.orchestration.reprocessing import plan_reprocessing
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, step_settings, why_stale
from preprocessing.sources.stored_catalog import SourceSettings, batch_keys, load_batch, scan_sources
from storage.publishing import current

pytestmark = pytest.mark.slow
CORPUS = CorpusSettings(people=3, videos=1, seconds_per_video=2.4, side_px=256, workers=0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, CORPUS)
    (folder / "broken.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[UPath]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("root")
        patch.setenv("PDFGC_ROOT", str(folder))
        patch.setenv("DAGSTER_HOME", "")
        ensure_dagster_home()
        run(corpus)
        yield UPath(folder)


def run(corpus: Path, *, force: bool = False) -> str:
    """Run the main job; returns what it printed."""
    console = Console(file=io.StringIO(), width=200)
    run_preprocessing(PreprocessRequest((corpus,), force=force, workers=1), console)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return printed.getvalue()


def test_all_steps_and_the_data_set_are_published(root: UPath) -> None:
    keys = batch_keys(root)
    assert len(keys) == 1
    builds = {name: current(root, name, keys[0]) for name in STEPS}
    assert all(builds.values())
    shards, dataset = builds["shards"], current(root, DATASET, WHOLE)
    assert shards is not None
    assert dataset is not None
    assert shards.manifest.counts["samples"] == dataset.manifest.counts["samples"] == 3


def test_second_run_builds_nothing(root: UPath, corpus: Path) -> None:
    before = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
    printed = run(corpus)
    after = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
    for name in STEPS:
        first, second = before[name], after[name]
        assert first is not None
        assert second is not None
        assert first.manifest.finished_at == second.manifest.finished_at, name
    assert "zero_bytes 1" in printed
    assert "samples" in printed


def test_dagster_has_the_partition_and_its_metadata(root: UPath) -> None:
    key = batch_keys(root)[0]
    with DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("batches") == [key]
        event = instance.get_latest_materialization_event(AssetKey("clips"))
        assert event is not None
        materialization = event.asset_materialization
        assert materialization is not None
        assert materialization.partition == key
        assert materialization.metadata["clips"].value == 3
        shown = str(materialization.metadata["picture: contact sheet"].value)
        assert shown.startswith(f"[![picture](/files/pictures/clips/{key}/contact_sheet-")


def test_changed_threshold_makes_one_step_stale(root: UPath) -> None:
    settings = PreprocessingSettings()
    settings = settings.replace(clips=settings.clips.replace(minimum_sharpness=9.5))
    batch = load_batch(root, batch_keys(root)[0])
    reasons = {name: why_stale(root, name, batch, settings) for name in STEPS}
    assert reasons.pop("clips") == "setting minimum_sharpness: 8.0 -> 9.5"
    assert set(reasons.values()) == {None}


def test_damaged_shard_fails_the_checksums_check(root: UPath) -> None:
    key = batch_keys(root)[0]
    shards = current(root, "shards", key)
    assert shards is not None
    tar = Path(str(shards.directory)) / f"{key}-000.tar"
    whole = tar.read_bytes()
    try:
        tar.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        results = run_checks(STEP_CHECKS["shards"], BatchBuilds(root, key, PreprocessingSettings()))
        (result,) = [result for result in results if not result.passed]
        assert result.check_name == "checksums"
        assert f"{key}-000.tar" in str(result.description)
    finally:
        tar.write_bytes(whole)
    assert all(
        result.passed
        for result in run_checks(STEP_CHECKS["shards"], BatchBuilds(root, key, PreprocessingSettings()))
    )


def test_plan_has_stale_steps_with_reason_and_time(root: UPath) -> None:
    settings = PreprocessingSettings()
    iris = settings.gaze_labels.iris.replace(vertical_gain=1.5)
    changed = settings.replace(gaze_labels=settings.gaze_labels.replace(iris=iris))
    assert plan_reprocessing(root, settings).stale == ()
    plan = plan_reprocessing(root, changed)
    (batch,) = plan.stale
    assert batch.why == "gaze_labels: setting iris.vertical_gain: 1.25 -> 1.5"
    assert batch.steps == ("gaze_labels", "eye_anchors", "shards")
    builds = [current(root, step, batch.batch) for step in batch.steps]
    seconds = [build.manifest.seconds for build in builds if build is not None]
    assert plan.seconds == pytest.approx(sum(seconds))
    with pytest.raises(ValueError, match=r"no batch b99999 under .*; available: b00000"):
        plan_reprocessing(root, settings, ["b99999"])


def test_newer_labeller_makes_its_label_and_shards_stale(
    root: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = STEPS["lip_sync_scores"]
    newer, settings = replace(step, code_version="newer"), step_settings(step, PreprocessingSettings())
    monkeypatch.setitem(STEPS, step.name, newer)
    (batch,) = plan_reprocessing(root, PreprocessingSettings()).stale
    versions = f"{step.full_code_version(settings)} -> {newer.full_code_version(settings)}"
    assert batch.why == f"lip_sync_scores: code version {versions}"
    assert batch.steps == ("lip_sync_scores", "shards")


def test_plan_finds_missing_files(root: UPath) -> None:
    poses = current(root, "pose_labels", batch_keys(root)[0])
    assert poses is not None
    path = Path(str(poses.directory)) / next(iter(poses.manifest.files))
    away = path.with_name("away")
    path.rename(away)
    try:
        (batch,) = plan_reprocessing(root, PreprocessingSettings()).stale
        assert path.name in batch.reasons["pose_labels"]
        assert batch.steps[0] == "pose_labels"
        assert "clips" not in batch.steps
    finally:
        away.rename(path)


def test_batch_with_missing_videos_is_held_back(root: UPath, corpus: Path, tmp_path: Path) -> None:
    settings = PreprocessingSettings()
    shots = settings.face_tracks.shots.replace(threshold=30.0)
    changed = settings.replace(face_tracks=settings.face_tracks.replace(shots=shots))
    assert plan_reprocessing(root, changed).stale[0].steps[0] == "face_tracks"
    away = tmp_path / "away.mp4"
    video = next(path for path in sorted(corpus.rglob("*.mp4")) if path.name != "broken.mp4")
    video.rename(away)
    try:
        scan_sources(root, [corpus], SourceSettings())
        plan = plan_reprocessing(root, changed)
        assert plan.stale == ()
        (held,) = plan.held_back
        assert held.reason == "setting shots.threshold: 27.0 -> 30.0"
        assert (held.missing_videos, held.videos) == (1, 3)
    finally:
        away.rename(video)
        scan_sources(root, [corpus], SourceSettings())


def sensor_result(instance: DagsterInstance, cursor: str | None = None) -> SensorResult | SkipReason:
    result = planned_batches(build_sensor_context(instance, cursor=cursor))
    assert isinstance(result, (SensorResult, SkipReason))
    return result


def test_reprocess_stale_rebuilds_with_its_settings_and_no_run_undoes_it(root: UPath) -> None:
    form = {"eye_anchors": {"swap": {"colour_spread": 0.4}}}
    resources = {"preprocessing": {"config": form}}
    with DagsterInstance.get() as instance:

        def plan(*, dry_run: bool) -> SensorResult | SkipReason:
            run_config = {
                "resources": resources,
                "ops": {"reprocessing_plan": {"config": {"dry_run": dry_run}}},
            }
            job = definitions.resolve_job_def("reprocess_stale")
            assert job.execute_in_process(instance=instance, run_config=run_config).success
            return sensor_result(instance)

        assert isinstance(plan(dry_run=True), SkipReason)
        result = plan(dry_run=False)
        assert isinstance(result, SensorResult)
        assert isinstance(plan(dry_run=True), SensorResult)  # a dry run ends no plan in progress
        (request,) = result.run_requests or []
        steps = list(request.asset_selection or [])
        assert [key.to_user_string() for key in steps] == ["eye_anchors", "shards"]
        assert request.tags["pdfgc/reason"] == "eye_anchors: setting swap.colour_spread: 0.35 -> 0.4"
        again = sensor_result(instance, result.cursor)
        assert isinstance(again, SkipReason)
        before = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
        job = definitions.resolve_job_def("preprocess").get_subset(asset_selection=set(steps))
        assert request.run_config == {"ops": {"eye_anchors": {"config": form["eye_anchors"]}}}
        done = job.execute_in_process(
            instance=instance,
            partition_key=request.partition_key,
            run_config=request.run_config,
            tags=request.tags,
        )
        assert done.success
        shown = done.asset_materializations_for_node("eye_anchors")[0].metadata["settings"].value
        assert shown == "- eye_anchors.swap.colour_spread: 0.4"
        # A nightly run with the deployment's settings keeps what was chosen; a job makes it hold for all.
        assert plan_reprocessing(root, PreprocessingSettings()).stale == ()
        assert list(read_chosen(root).batches) == [request.partition_key]
        job = definitions.resolve_job_def("adopt_settings")
        assert job.execute_in_process(instance=instance).success  # those of the last plan
        chosen = read_chosen(root)
        assert chosen.adopted is not None
        assert (chosen.adopted.changes, chosen.batches) == ({"eye_anchors.swap.colour_spread": 0.4}, {})
        assert plan_reprocessing(root, PreprocessingSettings()).stale == ()
        # The deployment's value differs from a form that was left as it was, and takes a choice back.
        named = {"settings": {"eye_anchors.swap.colour_spread": 0.35}}
        config = {"ops": {"reprocessing_plan": {"config": named}}}
        assert definitions.resolve_job_def("reprocess_stale").execute_in_process(config, instance).success
        result = sensor_result(instance)
        assert isinstance(result, SensorResult)
        (request,) = result.run_requests or []
        assert request.tags["pdfgc/settings"] == '{"eye_anchors.swap.colour_spread": 0.35}'
        config = {"ops": {"adopt_settings": {"config": named}}}
        assert job.execute_in_process(config, instance).success
        assert read_chosen(root).adopted is None
        ops = {"adopt_settings": {"config": {"forget": True}}}
        assert job.execute_in_process(instance=instance, run_config={"ops": ops}).success
        (stale,) = plan_reprocessing(root, PreprocessingSettings()).stale
        assert stale.reasons == {"eye_anchors": "setting swap.colour_spread: 0.4 -> 0.35"}
    after = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
    built = {name for name in STEPS if before[name] != after[name]}
    assert "eye_anchors" in built
    assert built <= {"eye_anchors", "shards"}


def test_status_fits_80_columns_and_has_json(root: UPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PDFGC__PREPROCESSING__CLIPS__MINIMUM_SHARPNESS", "9.5")
    printed = CliRunner().invoke(main, ["status"])
    assert printed.exit_code == 0, printed.output
    tables, _, changed = printed.output.partition("changed by the environment: ")
    assert max(map(len, tables.splitlines())) <= 80
    assert changed.startswith("PDFGC__PREPROCESSING__CLIPS__MINIMUM_SHARPNESS=9.5 (default 8.0)")
    status = json.loads(CliRunner().invoke(main, ["status", "--json"]).output)
    assert [step["step"] for step in status["steps"]] == list(STEPS)
    (stale,) = status["stale"]
    assert (stale["batch"], stale["steps"][0]) == (batch_keys(root)[0], "clips")
    assert status["dataset"]["counts"]["samples"] == 3
