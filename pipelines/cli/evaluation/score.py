"""The command `pdfgc score`."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("videos", type=FILE, nargs=-1, required=True)
@click.option("--scorer", default="syncnet_v2", show_default=True, help="Network that embeds lips and sound.")
@click.option(
    "--weights",
    type=FILE,
    help="Weights of the scorer: for syncnet_v2 that name (see pdfgc weights) or its file, for "
    "lip_encoders a run that trained stage2_lip (RUN or ROOT/RUN).",
)
@click.option(
    "--protocol",
    type=click.Choice(["frame", "track", "crop"]),
    required=True,
    help="Input of the scorer. frame: the whole picture, resized; track: crops around the tracked face; "
    "crop: aligned crops, unchanged (lip_encoders only). Scores of different protocols are not comparable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(videos: tuple[Path, ...], scorer: str, weights: Path | None, protocol: str, as_json: bool) -> None:
    """Score the lip sync of VIDEOS.

    Prints LSE-C, LSE-D, the offset, and the distance at every offset.

    A video without sound or a face, or one that is too short, gets a reason in place of scores. The command
    fails if no video can be scored.
    """
    from rich.console import Console

    from evaluation.suites.score_videos import as_json_text, print_scores, require_one_scored, score_videos
    from pipelines.console import without_chatter
    from pipelines.logs import log_to_terminal

    with without_chatter(), log_to_terminal():
        rows = score_videos(videos, scorer, weights, protocol)
        if as_json:
            click.echo(as_json_text(rows))
        require_one_scored(rows)
        if not as_json:
            print_scores(rows, Console())
