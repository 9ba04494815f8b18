"""Whether a run is worse than the last accepted one by more than is tolerated.

A figure of the model counts as worse where all three hold:

- its mean is worse by more than `tolerance`, a share of the accepted mean's magnitude;
- the difference's 95 % interval lies wholly on the worse side: paired by video where both runs were evaluated
  on the same videos, else Welch's interval of the two means;
- it stays so when all figures are looked at together (Benjamini and Hochberg, 5 %). Of fifty figures one or
  two leave their interval by noise alone: with the labels of two evaluated runs shuffled by video, the first
  two rules alone found something worse in 42 of 100 shuffles, all three in none.

How little is seen, of the same runs (24 videos, 6 a protocol): every following error 25 % larger in 75 of 100
shuffles, 50 % in all; one metric alone 50 % larger in 54. More videos, or fewer `metrics`, sharpen it.

Figures without an interval (one number for all videos) or a better direction are not judged, and cells of the
control matrix are left out, as in `evaluation.comparison.compare`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from upath import UPath

from evaluation.comparison.baseline_runs import Acceptance, last_accepted, read_accepted
from evaluation.comparison.compare import find_obstacles
from evaluation.comparison.evaluated_run import EvaluatedRun, read_evaluated
from evaluation.comparison.regression import Worsening, paired_worsening, unpaired_worsening
from evaluation.records import MODEL, MetricRecord, RecordKey, Summary, summarise
from evaluation.report.matrix import split_cells
from storage.settings import setting

FALSE_ALARMS: Final = 0.05


@dataclass(frozen=True)
class AcceptanceSettings:
    """When a run is worse than the accepted one.

    Raises:
        ValueError: the tolerance is out of its bounds.
    """

    tolerance: float = setting(
        0.05, "Share of the accepted mean's magnitude by which a mean may be worse", minimum=0.0, maximum=10.0
    )
    metrics: str = setting(
        "", "Metrics that count, names with commas between; empty: all that both runs have figures of"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= 10:
            raise ValueError(f"tolerance is {self.tolerance}, need 0 to 10")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the metrics that count; empty: all."""
        return tuple(name.strip() for name in self.metrics.split(",") if name.strip())


@dataclass(frozen=True)
class JudgedFigure:
    """One figure of the model that both runs have; `worse`: by more than is tolerated and noise gives."""

    key: RecordKey
    accepted: Summary
    new: Summary
    worsening: Worsening
    worse: bool


@dataclass(frozen=True)
class AgainstAccepted:
    """A run held against the accepted one.

    Attributes:
        run: The new one.
        accepted: None: nothing was accepted yet.
        unpaired_because: Why the videos are not the same; empty where figures are paired by video.
        figures: That both have.
        missing: Figures that the accepted run has and the new one has not, or in another unit; in words.
    """

    run: str
    accepted: Acceptance | None
    unpaired_because: tuple[str, ...] = ()
    figures: tuple[JudgedFigure, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[JudgedFigure, ...]:
        """What is worse, the surest first."""
        return tuple(sorted((one for one in self.figures if one.worse), key=_chance))

    @property
    def judged(self) -> int:
        """How many figures have an interval."""
        return sum(one.worsening.chance is not None for one in self.figures)

    @property
    def passed(self) -> bool:
        """Nothing is worse, and something was judged; or nothing was accepted yet."""
        return self.accepted is None or (self.judged > 0 and not self.worse)


def hold_against_accepted(root: UPath, run: str, settings: AcceptanceSettings) -> AgainstAccepted:
    """Compare a run's current report with the last accepted one.

    Raises:
        ValueError: the run has no report, or a named metric is in neither run.
    """
    new, last = read_evaluated(root, run), last_accepted(root)
    if last is None:
        return AgainstAccepted(run, None)
    return replace(compare_evaluated(read_accepted(root, last), new, settings), accepted=last)


def compare_evaluated(
    accepted: EvaluatedRun, new: EvaluatedRun, settings: AcceptanceSettings
) -> AgainstAccepted:
    """As `hold_against_accepted`, of two runs that were read."""
    _refuse_unknown(settings, accepted, new)
    obstacles = find_obstacles(accepted.plan, new.plan)
    before, after = (_judged_rows(one.figures, settings.names) for one in (accepted, new))
    old, now = ({one.key: one for one in summarise(rows) if one.videos} for rows in (before, after))
    groups = _by_key(before), _by_key(after)
    found: list[JudgedFigure] = []
    missing: list[str] = []
    for key, was in old.items():
        if key not in now:
            missing.append(figure_name(key))
        elif (was.unit, was.direction) != (now[key].unit, now[key].direction):
            told = f"was in {was.unit or 'no unit'}, {was.direction} is better"
            missing.append(f"{figure_name(key)}, which {told}")
        elif worsening := _worsening(groups[0][key], groups[1][key], paired=not obstacles):
            found.append(JudgedFigure(key, was, now[key], worsening, worse=False))
    figures = _verdicts(found, settings.tolerance)
    return AgainstAccepted(new.run, None, obstacles, figures, tuple(missing))


def figure_name(key: RecordKey) -> str:
    """What people call a figure of the model."""
    return f"{key.metric} ({key.task}, {key.scorer})"


def _refuse_unknown(settings: AcceptanceSettings, *runs: EvaluatedRun) -> None:
    known = {row.metric for run in runs for row in _judged_rows(run.figures)}
    if unknown := [name for name in settings.names if name not in known]:
        raise ValueError(
            f"no figures of {', '.join(unknown)} in either run; there are {', '.join(sorted(known))}"
        )


def _judged_rows(rows: Sequence[MetricRecord], metrics: Sequence[str] = ()) -> list[MetricRecord]:
    return [
        row
        for row in split_cells(rows)[0]
        if row.method == MODEL and row.direction != "neither" and (not metrics or row.metric in metrics)
    ]


def _by_key(rows: Sequence[MetricRecord]) -> dict[RecordKey, list[MetricRecord]]:
    groups: dict[RecordKey, list[MetricRecord]] = {}
    for row in rows:
        groups.setdefault(row.key, []).append(row)
    return groups


def _worsening(
    first: Sequence[MetricRecord], second: Sequence[MetricRecord], *, paired: bool
) -> Worsening | None:
    better = first[0].direction
    assert better != "neither"
    return (paired_worsening if paired else unpaired_worsening)(first, second, better)


def _verdicts(figures: Sequence[JudgedFigure], tolerance: float) -> tuple[JudgedFigure, ...]:
    """Say of each whether it is worse."""
    chances = [one.worsening.chance for one in figures if one.worsening.chance is not None]
    if not chances:
        return tuple(figures)
    from scipy import stats  # slow to import, and forms load this module

    together = iter(stats.false_discovery_control(chances).tolist())
    return tuple(
        one if one.worsening.chance is None else replace(one, worse=_is_worse(one, tolerance, next(together)))
        for one in figures
    )


def _is_worse(figure: JudgedFigure, tolerance: float, chance_among_all: float) -> bool:
    change, mean = figure.worsening, figure.accepted.mean
    assert change.low is not None
    assert mean is not None
    return change.mean > tolerance * abs(mean) and change.low > 0 and chance_among_all <= FALSE_ALARMS


def _chance(figure: JudgedFigure) -> float:
    return figure.worsening.chance if figure.worsening.chance is not None else 1.0
