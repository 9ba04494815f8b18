"""The main job on a small corpus, through Dagster: what comes out, and what a second run does."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance
from rich.console import Console
from upath import UPath

from pipelines.dagster_home import ensure_dagster_home
from pipelines.main_job import MainJob, run_main_job
from preprocessing.demo_corpus.corpus import make_corpus
from preprocessing.demo_corpus.settings import CorpusSettings
from preprocessing.source_videos import batch_keys, load_batch
from preprocessing.steps import STEPS, PreprocessingSettings, why_stale
from preprocessing.whole_dataset import DATASET, WHOLE
from storage.publishing import current

pytestmark = pytest.mark.slow
CORPUS = CorpusSettings(identities=3, videos_per_identity=1, seconds_per_video=2.4, side_px=256, workers=0)


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
    run_main_job(MainJob((corpus,), force=force, workers=1), console)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return printed.getvalue()


def test_every_step_of_every_batch_and_the_data_set_are_there(root: UPath) -> None:
    keys = batch_keys(root)
    assert len(keys) == 1
    made = {name: current(root, name, keys[0]) for name in STEPS}
    assert all(made.values())
    shards, dataset = made["shards"], current(root, DATASET, WHOLE)
    assert shards is not None
    assert dataset is not None
    assert shards.manifest.counts["samples"] == dataset.manifest.counts["samples"] == 3


def test_a_second_run_finds_nothing_to_do_and_prints_the_same_counts(root: UPath, corpus: Path) -> None:
    before = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
    printed = run(corpus)
    after = {name: current(root, name, batch_keys(root)[0]) for name in STEPS}
    for name in STEPS:
        one, other = before[name], after[name]
        assert one is not None
        assert other is not None
        assert one.manifest.finished_at == other.manifest.finished_at, name
    assert "zero_bytes 1" in printed
    assert "samples" in printed


def test_dagster_knows_the_batch_its_figures_its_pictures_and_its_checks(root: UPath) -> None:
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
        assert shown.startswith("![picture](data:image/jpeg;base64,")
        assert len(shown) < 100_000


def test_a_changed_threshold_makes_stale_only_what_depends_on_it(root: UPath) -> None:
    from dataclasses import replace

    settings = PreprocessingSettings()
    settings = replace(settings, clips=replace(settings.clips, minimum_sharpness=9.5))
    batch = load_batch(root, batch_keys(root)[0])
    reasons = {name: why_stale(root, name, batch, settings) for name in STEPS}
    assert reasons.pop("clips") == "setting minimum_sharpness: 8.0 -> 9.5"
    assert set(reasons.values()) == {None}


def test_a_damaged_shard_is_found_and_stops_what_follows(root: UPath) -> None:
    from pipelines.step_checks import run_checks

    key = batch_keys(root)[0]
    shards = current(root, "shards", key)
    assert shards is not None
    tar = Path(str(shards.directory)) / f"{key}-000.tar"
    whole = tar.read_bytes()
    try:
        tar.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        (result,) = run_checks(root, "shards", key, PreprocessingSettings())
        assert not result.passed
        assert f"{key}-000.tar" in str(result.description)
    finally:
        tar.write_bytes(whole)
    assert all(result.passed for result in run_checks(root, "shards", key, PreprocessingSettings()))
