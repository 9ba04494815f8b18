"""The command `pdfgc compare`."""

import click


@click.command()
@click.argument("runs", nargs=2, metavar="RUN RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[str, str], as_json: bool) -> None:
    """Compare two evaluated runs, metric by metric, paired by video.

    Both must have been evaluated on the same videos of the same data set.
    """
    from rich.console import Console

    from evaluation.comparison.compare import as_json_text, compare_runs, print_comparison
    from evaluation.generation.files import GENERATED_VIDEOS
    from storage.publishing import require_current
    from storage.root import open_root

    root = open_root()
    for run in runs:
        require_current(root, GENERATED_VIDEOS, run)
    comparison = compare_runs(root, *runs)
    if as_json:
        click.echo(as_json_text(comparison))
    if comparison.obstacles:
        raise ValueError(f"{runs[0]} and {runs[1]} cannot be compared: {'; '.join(comparison.obstacles)}")
    if not as_json:
        print_comparison(comparison, Console())
