"""The command `pdfgc demo`: videos to shards, every training stage, a table of figures and a talking head."""

import os
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from demo_corpus.corpus import CorpusSettings
from demo_corpus.people import holds_out_photos
from demo_corpus.portraits import BUNDLED
from evaluation.config import EvaluationConfig
from pipelines.cli.data.corpus import make_demo_corpus
from pipelines.cli.data.preprocess import (
    PreprocessRequest,
    VideoFolder,
    force_option,
    run_preprocessing,
    workers_option,
)
from preprocessing.sources.remote import SourcePath
from training.jobs.config import STARTER_NAME, TrainingConfig

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

    from evaluation.animation.request import AnimateReport

RENDERED: Final = CorpusSettings(people=24, videos=1, seconds_per_video=4.0)
"""Many people with little of each: people, not frames, limit what a short run learns (docs/measured.md)."""
ANCHORS_PER_CLIP: Final = 8
"""Of the rendered corpus. With two of each clip the eye code tells blinks at r .64, with eight at .80
(docs/measured.md)."""
EVALUATION: Final = EvaluationConfig(self_videos=4, cross_videos=6, control_bases=0)
"""Fewer videos than `pdfgc evaluate` renders: the table needs no control videos."""
SECONDS: Final = 4.0  # of the talking head
DEMO_FOLDER: Final = "demo"
PAGE_NAME: Final = "index.html"


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
    help="Train every stage, evaluate and animate after preprocessing.",
)
def demo(
    videos: SourcePath | None, portraits: tuple[Path, ...], force: bool, workers: int, with_training: bool
) -> None:
    """Preprocess videos, train every stage from nothing, and compare the run with the starter model.

    Without --videos it renders a small corpus of talking heads whose pose, gaze, blinks and mouth are known
    for every frame. It ends with one table and a page whose first screen plays a talking head.
    """
    from rich.console import Console

    from pipelines.console import use_one_thread

    if videos is not None and portraits:
        raise click.UsageError("--portrait applies to the rendered corpus; it cannot be used with --videos")
    use_one_thread()
    from pipelines.console import without_chatter
    from storage.root import open_root, scratch_directory

    settings = dataset_settings = None
    if videos is None:
        videos = scratch_directory(open_root()).parent / "demo_corpus"
        make_demo_corpus(Path(videos), RENDERED.replace(portraits=portraits))
        settings = {"eye_anchors": {"anchors_per_clip": ANCHORS_PER_CLIP}}
        dataset_settings = _named_splits() if holds_out_photos(len(portraits or BUNDLED)) else None
    with without_chatter():
        request = PreprocessRequest(
            (videos,),
            force,
            workers,
            settings=settings,
            dataset_settings=dataset_settings,
            with_summary=not with_training,
        )
        run_preprocessing(request, Console())
        if with_training:
            train_and_show(Console(), force=force)


def _named_splits() -> dict[str, Any]:
    """Settings of the data set by which the rendered people are in the splits that their names say."""
    from preprocessing.dataset.splits import SplitSettings

    splits = SplitSettings(
        validation_pattern="demo-validation-*", test_pattern="demo-test-*", validation_share=0, test_share=0
    )
    return {"splits": splits.model_dump()}


def train_and_show(console: "Console", *, force: bool) -> None:
    """Train all stages of run `default`, evaluate it beside the starter model, animate, print the table."""
    from evaluation.animation.checkpoint_abilities import exported_file
    from evaluation.report.run_table import run_table
    from pipelines.cli.training.train import ALL, run_training
    from storage.root import open_root

    config, root = TrainingConfig(), open_root()
    console.print(f"[bold]Training[/bold] every stage from nothing, preset {config.preset}")
    run_training(ALL, config, console, force=force, with_metrics=False)
    runs = [config.run]
    starter = exported_file(STARTER_NAME)
    if starter is not None and starter.is_file():
        runs.append(STARTER_NAME)
    else:
        console.print("The starter model (weights/starter) is not installed: no column for it in the table.")
    evaluate_at_once(root, runs, console, force=force)
    console.print(f"[bold]Animating[/bold] a portrait with three drivers by {runs[-1]}")
    report = animate_portrait(root, runs[-1])
    lines = run_table(root, runs)
    page = write_page(root, report, lines, runs)
    for line in ["", *lines, "", f"Video: {report.output}", f"Page: {page}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def evaluate_at_once(root: "UPath", runs: list[str], console: "Console", *, force: bool) -> None:
    """Evaluate the first run here and each other one in a process of its own, whose output goes to a file.

    Raises:
        JobFailedError: an evaluation failed.
    """
    from pipelines.cli.evaluation.evaluate import evaluate_run

    console.print(f"[bold]Evaluating[/bold] {' and '.join(runs)}")
    first, *others = runs
    spawn = get_context("spawn")
    with ExitStack() as stack:
        waiting = list[Future[None]]()
        for run in others:
            log = demo_folder(root) / f"evaluation_of_{run}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            console.print(f"  {run}: in a process of its own, which writes {log}", markup=False)
            pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=print_to, initargs=(log,))
            waiting.append(stack.enter_context(pool).submit(evaluate_alone, run, force=force))
        evaluate_run(root, EVALUATION.replace(run=first), force=force)
        for evaluation in waiting:
            evaluation.result()


def evaluate_alone(run: str, *, force: bool) -> None:
    """Evaluate one run, in a worker process."""
    from pipelines.cli.evaluation.evaluate import evaluate_run
    from storage.root import open_root

    evaluate_run(open_root(), EVALUATION.replace(run=run), force=force)


def print_to(log: Path) -> None:
    """Send what this process prints to a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def animate_portrait(root: "UPath", run: str) -> "AnimateReport":
    """Animate the portrait of the first cross video with its drivers: a person's sound, pose and eyes.

    The sources of the clips are used; clips of sources that are not on this machine serve themselves. With
    a single clip it drives itself.
    """
    from evaluation.animation.animate import animate
    from evaluation.animation.request import AnimateRequest
    from evaluation.generation.files import open_generated
    from preprocessing.sources.stored_catalog import source_paths

    _, generated = open_generated(root, run)
    plan = generated.plan
    chosen = (plan.of_task("cross") or plan.of_task("self"))[0]
    sources = source_paths(root)

    def source(key: str) -> Path:
        path = sources.get(generated.facts.clips[key].video_id)
        return path if path is not None and path.is_file() else generated.clip(key)

    folder = demo_folder(root)
    request = AnimateRequest(
        appearance=source(chosen.portrait),
        lip=source(chosen.drivers["lip"]),
        pose=source(chosen.drivers["pose"]),
        eye=source(chosen.drivers["eye"]),
        checkpoint=run,
        seconds=SECONDS,
        output=folder / "talking_head.mp4",
        grid=folder / "side_by_side.mp4",
    )
    return animate(request, root=root)


def demo_folder(root: "UPath") -> Path:
    """Where the video and the page are written: below a local root, else below the current folder."""
    from storage.objects import is_local, local_path

    return (local_path(root) if is_local(root) else Path.cwd()) / DEMO_FOLDER


def write_page(root: "UPath", report: "AnimateReport", lines: list[str], runs: list[str]) -> Path:
    """Write the page that plays the video, and return its path."""
    from evaluation.report.page import DemoPage, Fact, render_demo
    from evaluation.report.summary import EVALUATION_REPORT, REPORT_PAGE
    from evaluation.report.videos import data_uri
    from storage.atomic import write_atomically
    from storage.publishing import require_current
    from storage.root import local_copy

    assert report.grid is not None
    reports = [(run, require_current(root, EVALUATION_REPORT, run)) for run in runs]
    page = DemoPage(
        title="pdfgc demo",
        caption=f"A portrait, animated by {report.checkpoint}: sound, head pose and eyes come from three "
        "other videos.",
        mp4=data_uri("video/mp4", report.grid.read_bytes()),
        table=lines,
        files=[
            Fact("video", str(report.output)),
            *(Fact(f"report of {run}", str(local_copy(one.directory) / REPORT_PAGE)) for run, one in reports),
        ],
    )
    path = demo_folder(root) / PAGE_NAME
    with write_atomically(path) as partial:
        partial.write_text(render_demo(page), "utf-8")
    return path
