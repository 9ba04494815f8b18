"""The command `pdfgc runs`."""

import json
from pathlib import Path

import click

from training.stage_catalog import RENDERING_STAGE, STAGE_NAMES


@click.command()
@click.option(
    "--curves",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw the loss curves into this PNG.",
)
@click.option(
    "--stage",
    type=click.Choice(STAGE_NAMES),
    default=RENDERING_STAGE,
    show_default=True,
    help="Stage whose curves are drawn.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("names", nargs=-1, metavar="[RUN]...")
def runs(names: tuple[str, ...], curves: Path | None, stage: str, as_json: bool) -> None:
    """List training runs with preset, steps, cost and figures, the last one first.

    Figures are those of evaluated runs, ★ is the baseline run. With RUNs, only these.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from evaluation.comparison.run_list import SHOWN, as_json_object, draw_run_curves, list_runs, run_curves
    from pipelines.console import without_chatter
    from storage.root import open_root

    root = open_root()
    with without_chatter():
        listed = list_runs(root)
    known = [run.name for run in listed]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no run {unknown[0]!r} under {root}; runs: {', '.join(known) or 'none'}")
    shown = [run for run in listed if not names or run.name in names]
    if as_json:
        click.echo(json.dumps(as_json_object(shown), indent=2))
    elif not shown:
        click.echo(f"No training runs in {root}. Start with: pdfgc train all --run NAME")
    else:
        table = Table("run", "preset", "steps", "CPU h", "finished", *SHOWN)
        for run in shown:
            row = [f"{run.name}{' ★' if run.is_baseline else ''}", run.preset, str(sum(run.steps.values()))]
            row += [f"{run.cpu_hours:.2f}", run.finished_at[:16].replace("T", " ")]
            figures = [run.figures.get(name, "not evaluated" if name == SHOWN[0] else "") for name in SHOWN]
            table.add_row(*map(Text, [*row, *figures]))
        Console().print(table)
    if curves is not None:
        curves.write_bytes(draw_run_curves(run_curves(root, [run.name for run in shown], stage), stage))
        click.echo(f"Curves: {curves}", err=as_json)
