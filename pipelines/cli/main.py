"""The command line `pdfgc`."""

import os
import sys
from pathlib import Path

import click

from evaluation.animation.request import AnimateOrder
from evaluation.config import EvaluationChoice
from pipelines.cli.accept import accept, accepted
from pipelines.cli.animate_options import animate_options
from pipelines.cli.app import app
from pipelines.cli.evaluation_options import evaluate
from pipelines.cli.gc import gc
from pipelines.cli.settings import settings
from pipelines.cli.training_options import training_options
from pipelines.cli.weights import weights
from pipelines.one_thread import use_one_thread
from preprocessing.sources.remote import SourcePath, is_folder, source_path
from training.jobs.config import TrainingChoice
from training.stage_catalog import STAGE_NAMES


class _Source(click.ParamType[SourcePath]):
    """A folder of videos or s3://bucket/prefix; `click.Path` would take a slash out of the URL."""

    name = "path"

    def convert(  # pyright: ignore[reportImplicitOverride]
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> SourcePath:
        try:
            return source_path(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


FOLDER = click.Path(path_type=Path)
SOURCE = _Source()
WORKSPACE = "workspace.yaml"  # of a checkout; an installed pdfgc serves its own definitions


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Everything is written under PDFGC_ROOT (default ./pdfgc-root). Start with: pdfgc demo",
)
def main() -> None:
    """From talking videos to a controllable talking head, reproducibly.

    The same work can be done in Dagster's UI: pdfgc dev.
    """


@main.command()
@click.option(
    "--videos",
    type=SOURCE,
    help="Folder of talking videos, or s3://bucket/prefix; without it a corpus is made here.",
)
@click.option(
    "--portrait", type=FOLDER, multiple=True, help="Own portrait photos for the corpus (repeatable)."
)
@click.option("--force", is_flag=True, help="Make everything anew, even what is up to date.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Processes; 0 (default): one a core.")
@click.option(
    "--train/--no-train",
    "with_training",
    default=True,
    help="Go on through every training stage to the evaluation's report.",
)
def demo(
    videos: SourcePath | None, portrait: tuple[Path, ...], force: bool, workers: int, with_training: bool
) -> None:
    """Run the main job: videos to checked training shards, every training stage, the evaluation's report.

    Without --videos it first makes its own corpus of talking heads whose pose, gaze, blinks and mouth
    are known for every frame. Training takes preset tiny_cpu: about ten minutes on two cores.
    """
    if videos is not None and portrait:
        raise click.UsageError("--portrait is for the corpus that is made here; leave --videos out")
    _run((videos if videos is not None else _make_corpus(None, portrait),), force, workers)
    if with_training:
        _train_and_evaluate_demo(force)


@main.command()
@click.argument("folders", type=SOURCE, nargs=-1)
@click.option("--force", is_flag=True, help="Make everything anew, even what is up to date.")
@click.option("--workers", type=click.IntRange(min=0), default=0, help="Processes; 0 (default): one a core.")
def preprocess(folders: tuple[SourcePath, ...], force: bool, workers: int) -> None:
    """Scan FOLDERS (and those scanned before) and bring every batch's shards up to date.

    The first folder level names the person: FOLDER/person/.../clip.mp4; a file directly in FOLDER is a
    person of its own. A folder may also be s3://bucket/prefix.
    """
    _run(folders, force, workers)


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--portrait", type=FOLDER, multiple=True, help="Own portrait photos (repeatable).")
def corpus(folder: Path, portrait: tuple[Path, ...]) -> None:
    """Write the demo corpus into FOLDER: videos with the truth of every frame beside them."""
    click.echo(f"{_make_corpus(folder, portrait)}")


@main.command()
@click.argument("stage", type=click.Choice([*STAGE_NAMES, "all"]))
@training_options
@click.option("--force", is_flag=True, help="Train anew, even what is up to date.")
def train(stage: str, choice: TrainingChoice, force: bool) -> None:
    """Train a STAGE, or all of them in their order, on the data set; a stopped run is gone on with.

    The same jobs stand in Dagster's UI, and these runs show there.
    """
    from rich.console import Console

    from pipelines.operations.dagster_home import ensure_dagster_home

    with _OneLineErrors():
        from pipelines.cli.training_job import TrainingOrder, run_training  # reads the deployment's settings

        ensure_dagster_home()
        run_training(TrainingOrder(stage, choice, force), Console())


@main.command()
@click.option("--all", "all_batches", is_flag=True, help="Every stale batch, not only the first few.")
def status(all_batches: bool) -> None:
    """Show what every step cost, which batches are stale and why, and what failed last."""
    from rich.console import Console

    from pipelines.operations.dagster_home import ensure_dagster_home
    from storage.root import open_root

    with _OneLineErrors():
        from pipelines.cli.status import print_status  # reads the deployment's settings

        ensure_dagster_home()
        print_status(open_root(), Console(), all_batches=all_batches)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(arguments: tuple[str, ...]) -> None:
    """Serve Dagster's UI on http://localhost:3000; ARGUMENTS go to `dagster dev`."""
    from pipelines.operations.dagster_home import ensure_dagster_home
    from pipelines.operations.dead_runs import clear_this_home

    ensure_dagster_home()
    clear_this_home()
    use_one_thread()
    what = ["-w", WORKSPACE] if Path(WORKSPACE).is_file() else ["-m", "pipelines.definitions"]
    # A process of its own would only stand between the terminal's Ctrl-C and Dagster.
    command = [sys.executable, "-m", "dagster", "dev", *what, *arguments]
    os.execv(sys.executable, command)  # noqa: S606  (no shell is wanted)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing, and what that costs."""
    from pipelines.cli import doctor as examination

    raise SystemExit(examination.report(as_json=as_json))


@main.command()
@click.argument("videos", type=FOLDER, nargs=-1, required=True)
@click.option("--scorer", default="syncnet_v2", show_default=True, help="Whose embeddings of lips and sound.")
@click.option(
    "--weights",
    type=FOLDER,
    help="What the scorer is made of: for syncnet_v2 that name (of `pdfgc weights`) or the file, for "
    "lip_encoders the name of a run that has trained stage2_lip (or ROOT/RUN).",
)
@click.option(
    "--protocol",
    type=click.Choice(["frame", "track", "crop"]),
    required=True,
    help="frame: whole pictures squashed; track: crops of the followed face; crop: aligned crops as they are "
    "(lip_encoders alone). Their figures never mix.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(videos: tuple[Path, ...], scorer: str, weights: Path | None, protocol: str, as_json: bool) -> None:
    """Score how well lips and sound of VIDEOS fit: LSE-C, LSE-D, offset, the distance at every shift.

    A video that cannot be scored (no sound, no face, too short) is told with its reason; when none can,
    the command fails.
    """
    from rich.console import Console

    from evaluation.suites.score_videos import as_json_text, print_scores, require_one_scored, score_videos
    from pipelines.cli.console import without_chatter

    with _OneLineErrors(), without_chatter():
        rows = score_videos(videos, scorer, weights, protocol)
        if as_json:
            click.echo(as_json_text(rows))
        require_one_scored(rows)
        if not as_json:
            print_scores(rows, Console())


@main.command()
@animate_options
def animate(order: AnimateOrder) -> None:
    """Make a talking head: one portrait, and sound and videos that drive it.

    Any driver may be left out: lips are then held as in silence, the rest as in the portrait. The video is
    as long as the sound, else as the longest driver; a driver that is shorter holds its last frame.
    """
    from rich.console import Console

    from pipelines.cli.animate_console import print_report, progress_bar
    from pipelines.cli.console import without_chatter

    console = Console()
    with _OneLineErrors(), without_chatter():
        from evaluation.animation.animate import animate as make_video

        with progress_bar(console) as show:
            report = make_video(order, show)
        print_report(report, console)


main.add_command(accept)
main.add_command(accepted)
main.add_command(app)
main.add_command(evaluate)
main.add_command(gc)
main.add_command(weights)
main.add_command(settings)


@main.command()
@click.argument("runs", nargs=2, metavar="RUN RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[str, str], as_json: bool) -> None:
    """Compare two evaluated runs, figure by figure, paired by video.

    They must have been evaluated on the same videos: the same data set and protocol. Otherwise the reasons
    are told, and the command fails.
    """
    from rich.console import Console

    from evaluation.comparison.compare import as_json_text, compare_runs, print_comparison
    from storage.root import open_root

    with _OneLineErrors():
        comparison = compare_runs(open_root(), *runs)
        if as_json:
            click.echo(as_json_text(comparison))
        if comparison.obstacles:
            raise ValueError(f"{runs[0]} and {runs[1]} cannot be compared: {'; '.join(comparison.obstacles)}")
        if not as_json:
            print_comparison(comparison, Console())


class _OneLineErrors:
    """Turns what a person can mend into one line; anything else keeps its traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (ValueError, OSError, RuntimeError)):
            raise click.ClickException(str(error)) from error


def _run(folders: tuple[SourcePath, ...], force: bool, workers: int) -> None:
    from rich.console import Console

    use_one_thread()
    from pipelines.cli.console import without_chatter
    from pipelines.operations.dagster_home import ensure_dagster_home

    with _OneLineErrors(), without_chatter():
        from pipelines.cli.main_job import MainJob, run_main_job  # reads the deployment's settings

        for folder in folders:
            if not is_folder(folder):
                raise FileNotFoundError(f"{folder} is no folder of videos")
        ensure_dagster_home()
        run_main_job(MainJob(folders, force, workers), Console())


def _train_and_evaluate_demo(force: bool) -> None:
    from rich.console import Console

    from pipelines.cli.console import without_chatter
    from pipelines.operations.dagster_home import ensure_dagster_home

    with _OneLineErrors(), without_chatter():
        from pipelines.cli.demo_training import run_demo_training
        from pipelines.cli.evaluation_job import EvaluationOrder, run_evaluation

        ensure_dagster_home()
        run_demo_training(Console(), force=force)
        run_evaluation(EvaluationOrder(EvaluationChoice(run=TrainingChoice().run), force), Console())


def _make_corpus(folder: Path | None, portraits: tuple[Path, ...]) -> Path:
    from demo_corpus.corpus import make_corpus
    from demo_corpus.settings import CorpusSettings
    from pipelines.cli.console import without_chatter
    from storage.root import open_root, scratch_directory

    with _OneLineErrors(), without_chatter():
        if folder is None:
            folder = scratch_directory(open_root()).parent / "demo_corpus"
        click.echo(f"Making the demo corpus in {folder} (kept for the next time)")
        made = make_corpus(folder, CorpusSettings(portraits=portraits))
        click.echo(f"{len(made)} videos")
    return folder
