"""The report as one HTML page that holds all it shows: no address outside it, nothing to load.

Everything that comes from data is escaped by the template; only the plots, made here of numbers and escaped
names, go in as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evaluation.report.contests import Contest
from evaluation.report.matrix import ReportMatrix
from evaluation.report.numbers import ARROWS, MINUS, NOTHING, difference_text, number
from evaluation.report.plots import interval_plot, legend_mark
from evaluation.report.tables import AHEAD, BEATS, IS_TRUTH, ReportLine, ReportTable
from evaluation.report.videos import ReportVideo

TEMPLATE: Final = "report.html.j2"
STYLE: Final = "report.css"
TASK_NAMES: Final[Mapping[str, str]] = {
    "self": "Self-reenactment: a clip drives its own first frame",
    "cross": "Cross-reenactment: lips, pose, eyes and expression from clips of other people",
    "control": "One control changed alone, all else held",
}
"""What people call a task; another one goes by its own name."""


@dataclass(frozen=True)
class Fact:
    """A line of what the figures were made of."""

    name: str
    value: str


@dataclass(frozen=True)
class Unmeasured:
    """Figures of the model that are not there, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """Who is ahead, clear contests first; cells of the control matrix apart; and what was not measured."""

    won: Sequence[Contest]
    level: Sequence[Contest]
    lost: Sequence[Contest]
    behind_the_truth: Sequence[Contest]
    cells: Sequence[Contest]
    unmeasured: Sequence[Unmeasured]


@dataclass(frozen=True)
class ContestGroup:
    """Contests that differ in their metric alone."""

    task: str
    baseline: str
    scorer: str
    contests: Sequence[Contest]


@dataclass(frozen=True)
class Section:
    """Tables under one heading."""

    anchor: str
    title: str
    explanation: str
    tables: Sequence[ReportTable]


@dataclass(frozen=True)
class ReportPage:
    """All that the page shows."""

    run: str
    facts: Sequence[Fact]
    sources: Sequence[Fact]
    notes: Sequence[str]
    verdict: Verdict
    matrices: Sequence[ReportMatrix]
    cell_tables: Sequence[ReportTable]
    sections: Sequence[Section]
    videos: Sequence[ReportVideo]
    videos_told: str


def render(page: ReportPage) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("evaluation.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "correlation": correlation_text,
        "arrow": ARROWS.__getitem__,
        "breakable": _breakable,
        "heat": heat,
        "sign_class": sign_class,
    }
    style = Markup(environment.get_template(STYLE).render())  # noqa: S704  (the project's own file)
    return environment.get_template(TEMPLATE).render(
        page=page,
        style=style,
        task_name=task_name,
        difference=contest_text,
        grouped=group_contests,
        plot=_plot,
        legend_mark=_legend_mark,
        leads=(BEATS, AHEAD),
        is_truth=IS_TRUTH,
    )


def task_name(task: str) -> str:
    """What people call a task."""
    return TASK_NAMES.get(task, task)


def correlation_text(value: float | None) -> str:
    """A correlation or gain with two digits and no leading zero before the point; a dash for none."""
    if value is None:
        return NOTHING
    return number(value, 2).replace("0.", ".", 1) if abs(value) < 0.995 else number(value, 2)


def group_contests(contests: Sequence[Contest]) -> list[ContestGroup]:
    """By task, baseline and scorer, in the order in which they first appear."""
    groups: dict[tuple[str, str, str], list[Contest]] = {}
    for contest in contests:
        key = contest.baseline.key
        groups.setdefault((key.task, key.method, key.scorer), []).append(contest)
    return [ContestGroup(*names, group) for names, group in groups.items()]


def contest_text(contest: Contest) -> str:
    """By how much the model differs from the baseline, by video where there are videos of both."""
    if contest.difference is not None:
        told = difference_text(contest.difference, contest.model.unit)
        return f"{told} (n {contest.difference.videos})"
    assert contest.model.mean is not None
    assert contest.baseline.mean is not None
    return number(contest.model.mean - contest.baseline.mean, 3, signed=True)


def _plot(line: ReportLine) -> Markup:
    return Markup(interval_plot(line.metric, line.summaries))  # noqa: S704  (names in it are escaped)


def _breakable(name: str) -> Markup:
    """A name with underscores, that may be broken behind each."""
    return Markup("_<wbr>").join(name.split("_"))


def _legend_mark(method: str) -> Markup:
    return Markup(legend_mark(method))  # noqa: S704  (shapes, no data)


def heat(value: float | None) -> str:
    """Share of the full colour of a cell, in percent, for the style sheet."""
    return "0" if value is None else f"{min(1.0, abs(value)) * 100:.0f}"


def sign_class(value: float | None) -> str:
    """Style class of a correlation's sign."""
    if value is None:
        return "none"
    return "negative" if number(value, 2).startswith(MINUS) else "positive"
