"""The command `pdfgc demo`: videos to shards, every training stage, the evaluation's report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from demo_corpus.corpus import CorpusSettings
from demo_corpus.people import holds_out_photos
from demo_corpus.portraits import BUNDLED
from pipelines.cli.corpus import make_demo_corpus
from pipelines.cli.preprocess import (
    PreprocessRequest,
    VideoFolder,
    force_option,
    run_preprocessing,
    workers_option,
)
from preprocessing.sources.remote import SourcePath

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

    from training.engine.progress import HeldOutMetric

STAGE_3: Final = "stage3_expression"
ABLATION_RUN: Final = "no-decorrelation"


@click.command()
@click.option(
    "--videos", type=VideoFolder(), help="Folder of talking videos or s3://bucket/prefix.  [default: render]"
)
@click.option(
    "--portrait",
    "portraits",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Portrait photo for the rendered corpus (repeatable).",
)
@force_option
@workers_option
@click.option(
    "--train/--no-train",
    "with_training",
    default=True,
    show_default=True,
    help="Train every stage and evaluate after preprocessing.",
)
def demo(
    videos: SourcePath | None, portraits: tuple[Path, ...], force: bool, workers: int, with_training: bool
) -> None:
    """Preprocess videos, train every stage and evaluate.

    Without --videos it renders a corpus of talking heads whose pose, gaze, blinks and mouth are known for
    every frame. Training uses the preset tiny_cpu: about ten minutes on two cores.
    """
    from rich.console import Console

    from pipelines.console import use_one_thread

    if videos is not None and portraits:
        raise click.UsageError("--portrait applies to the rendered corpus; it cannot be used with --videos")
    use_one_thread()
    from pipelines.console import without_chatter
    from storage.root import open_root, scratch_directory

    dataset_settings = None
    if videos is None:
        videos = scratch_directory(open_root()).parent / "demo_corpus"
        make_demo_corpus(Path(videos), CorpusSettings(portraits=portraits))
        dataset_settings = _named_splits() if holds_out_photos(len(portraits or BUNDLED)) else None
    with without_chatter():
        request = PreprocessRequest((videos,), force, workers, dataset_settings=dataset_settings)
        run_preprocessing(request, Console())
        if with_training:
            _train_and_evaluate(Console(), force=force)


def _named_splits() -> dict[str, Any]:
    """Settings of the data set by which the rendered people are in the splits that their names say."""
    from preprocessing.dataset.splits import SplitSettings

    splits = SplitSettings(
        validation_pattern="demo-validation-*", test_pattern="demo-test-*", validation_share=0, test_share=0
    )
    return {"splits": splits.model_dump()}


def _train_and_evaluate(console: "Console", *, force: bool) -> None:
    """Train all stages of run `default`, stage 3 again without L_decor, and evaluate the first."""
    from evaluation.config import EvaluationConfig
    from pipelines.cli.evaluate import run_evaluation
    from pipelines.cli.train import ALL, run_training
    from storage.root import open_root
    from training.jobs.config import TrainingConfig

    config = TrainingConfig()
    console.print("[bold]Training[/bold] every stage, preset tiny_cpu")
    run_training(ALL, config, console, force=force)
    ablation = TrainingConfig(run=ABLATION_RUN, parents_run=config.run, decorrelation=False)
    console.print("[bold]Training[/bold] stage 3 without L_decor, for comparison")
    run_training(STAGE_3, ablation, console, force=force)
    print_ablation(open_root(), (config.run, ABLATION_RUN), console)
    run_evaluation(EvaluationConfig(run=config.run), console, force=force)


def print_ablation(root: "UPath", runs: tuple[str, str], console: "Console") -> None:
    """Print the held-out metrics of stage 3 with and without L_decor side by side."""
    from rich.table import Table

    with_loss, without = (held_out_metrics(root, run) for run in runs)
    table = Table(title="Stage 3, held out: with and without L_decor")
    for name in ("metric", "with L_decor", "without", "chance"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, metric in with_loss.items():
        other = without.get(name)
        table.add_row(
            name,
            f"{metric.value:.4g}{metric.unit}",
            "" if other is None else f"{other.value:.4g}{other.unit}",
            "" if metric.chance is None else f"{metric.chance:.4g}{metric.unit}",
        )
    console.print(table)


def held_out_metrics(root: "UPath", run: str) -> "dict[str, HeldOutMetric]":
    """The held-out metrics of stage 3 of a run by name; empty if it is not trained."""
    from storage.publishing import current
    from storage.root import local_copy
    from training.engine.progress import read_held_out_metrics

    published = current(root, STAGE_3, run)
    if published is None:
        return {}
    return {metric.name: metric for metric in read_held_out_metrics(local_copy(published.directory))}
