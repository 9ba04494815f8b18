"""What people read of a run held against the accepted one, and of the history of accepted runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison.against_baseline import AgainstAccepted, JudgedFigure, figure_name
from evaluation.comparison.baseline_runs import Acceptance
from evaluation.generation.files import PLAN_NAME
from evaluation.report.numbers import interval_text, number, summary_text
from evaluation.report.sources import DIGEST_DIGITS

MOST_TOLD: Final = 3
COLUMNS: Final = ("figure", "accepted", "new", "worse by", "videos", "")


def verdict_text(against: AgainstAccepted) -> str:
    """One paragraph: the verdict, what it stands on, and what could not be compared."""
    if against.accepted is None:
        return (
            "no run is accepted yet, so there is nothing to be worse than: "
            f"`pdfgc accept {against.run} --note WHY` (or the asset accepted_run) accepts this one"
        )
    told = [_verdict(against), *_reservations(against)]
    return "; ".join(told)


def worse_lines(against: AgainstAccepted) -> tuple[str, ...]:
    """Each figure that is worse, with both means and the difference, the surest first."""
    return tuple(_worse_line(one) for one in against.worse)


def markdown_table(against: AgainstAccepted) -> str:
    """Every figure of both runs as a Markdown table, the worse ones first."""
    ranked = [*against.worse, *(one for one in against.figures if not one.worse)]
    lines = [COLUMNS, ("---", "---:", "---:", "---:", "---:", "---"), *map(_cells, ranked)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def history_json(history: Sequence[Acceptance]) -> str:
    """The history as JSON, oldest first."""
    return json.dumps([{**asdict(one), "folder": one.folder} for one in history], indent=1)


def print_history(history: Sequence[Acceptance], console: Console) -> None:
    """Print the history as a table, newest last; that one counts."""
    table = Table(title="Accepted runs; the last one counts", title_justify="left")
    for name in ("accepted (UTC)", "run", "note", "worse in", "weights", "data set"):
        table.add_column(name, overflow="fold")
    for one in history:
        digests = (one.weights[:DIGEST_DIGITS], one.dataset[:DIGEST_DIGITS])
        more = f" and {len(one.worse) - MOST_TOLD} more" if len(one.worse) > MOST_TOLD else ""
        worse = ", ".join(one.worse[:MOST_TOLD]) + more
        words = (_minute(one), one.run, one.note, worse, *digests)
        table.add_row(*map(Text, words))
    console.print(table)


def _verdict(against: AgainstAccepted) -> str:
    accepted = against.accepted
    assert accepted is not None
    whom = f"run {accepted.run!r}, accepted {_minute(accepted)} UTC"
    how = "means of different videos" if against.unpaired_because else "paired by video"
    if not against.judged:
        return f"nothing can be compared with {whom}: no figure of both has an interval"
    if not against.worse:
        return f"not worse than {whom}: {against.judged} figures compared, {how}"
    lines = worse_lines(against)
    more = f"; and {len(lines) - MOST_TOLD} more" if len(lines) > MOST_TOLD else ""
    count = f"{len(lines)} of {against.judged} figures"
    return f"worse than {whom}, in {count}, {how}: {'; '.join(lines[:MOST_TOLD])}{more}"


def _reservations(against: AgainstAccepted) -> list[str]:
    assert against.accepted is not None
    notes: list[str] = []
    if against.unpaired_because:
        file = f"{against.accepted.folder}/{PLAN_NAME}"
        notes.append(
            f"not the same videos ({'; '.join(against.unpaired_because)}): evaluate with --protocol-file "
            f"{file} of the root to pair them"
        )
    alone = len(against.figures) - against.judged
    if alone:
        notes.append(f"{alone} figures have no interval and are not judged")
    if against.missing:
        first = ", ".join(against.missing[:MOST_TOLD])
        more = f" and {len(against.missing) - MOST_TOLD} more" if len(against.missing) > MOST_TOLD else ""
        notes.append(f"{len(against.missing)} figures of the accepted run are not here: {first}{more}")
    return notes


def _worse_line(figure: JudgedFigure) -> str:
    unit = f" {figure.new.unit}" if figure.new.unit else ""
    means = f"{summary_text(figure.accepted)} to {summary_text(figure.new)}{unit}"
    worse = f"worse by {_worsening_text(figure)}{_share(figure)} over {figure.worsening.videos} videos"
    return f"{figure_name(figure.key)} {means}, {worse}"


def _share(figure: JudgedFigure) -> str:
    mean = figure.accepted.mean
    if not mean:
        return ""
    return f" ({number(100 * figure.worsening.mean / abs(mean), 0)} %)"


def _worsening_text(figure: JudgedFigure) -> str:
    change = figure.worsening
    return interval_text(change.mean, change.low, change.high, "")


def _cells(figure: JudgedFigure) -> tuple[str, ...]:
    unit = f", {figure.new.unit}" if figure.new.unit else ""
    verdict = "**worse**" if figure.worse else ("" if figure.worsening.chance is not None else "not judged")
    return (
        figure_name(figure.key) + unit,
        summary_text(figure.accepted),
        summary_text(figure.new),
        _worsening_text(figure) + _share(figure),
        str(figure.worsening.videos),
        verdict,
    )


def _minute(acceptance: Acceptance) -> str:
    return acceptance.accepted_at[:16].replace("T", " ")
