"""The control matrix: replace the driver of one control alone, and see which measures change with it.

Cell [control d, measure m] says how m went with the driver of d, when that driver was another clip's. On the
diagonal, where m belongs to d (`ALL_MEASURES`), 1 is perfect following; off it, 0 is no leak. Two protocols,
never in one table:

* `control_change`: two videos of one portrait, the first driven by clip A throughout, the second with d alone
  driven by clip B. The change of m between the videos against the difference of m between B and A.
* `control_follow`: one video whose controls are driven by different clips. m of the video against m of the
  driver of d.

Frame t is compared with frame t; what one series has beyond another's end is ignored. A cell holds the
correlation pooled over pairs: the two series of each pair, their means removed, are concatenated. The
correlation says nothing about size, the gain does.

Unrelated movements correlate by chance, the more the shorter the clip, and independent drivers do not prevent
it. The score is therefore computed from the pooled cells; that of a single pair has another name. Readings of
64-frame demo clips at 64 px, combined as perfect control would, score .85 over 8 pairs of `control_change`
and 16 videos of `control_follow` (follow .92 and .93, leak .07), but .62 in the mean of the 16 videos' own
scores. Wholly entangled controls score 0 in `control_change`.

A slow control cannot follow frame by frame: the expression code is a mean over a clip, and that mean is what
the matrix removes. So `control_change` also compares, over all pairs, the change of a video's mean with the
difference of its drivers' means (`SLOW`). The pairs' order is arbitrary: the line goes through the origin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal

import numpy as np

from evaluation.controls import CONTROLS, Control
from evaluation.metrics.control.series import STILL_BELOW, Agreement, Array, both_read, compare_series
from evaluation.metrics.metric import MeasuredVideo, Measurement, Metric
from evaluation.readings.face import SCORER
from evaluation.readings.measures import ALL_MEASURES, AnyReadings, Readings
from evaluation.records import Direction, MetricRecord, Task

ALL_PAIRS: Final = "all pairs"
MatrixProtocol = Literal["control_change", "control_follow"]
CHANGE: Final = "control_change"
FOLLOW: Final = "control_follow"
PROTOCOLS: Final[tuple[MatrixProtocol, ...]] = (CHANGE, FOLLOW)
SLOW: Final[Control] = "expression"
"""The control whose code is a mean over many frames."""
FEWEST_PAIRS: Final = 4  # of means; ours
TASKS: Final[Mapping[MatrixProtocol, tuple[Task, ...]]] = {CHANGE: ("control",), FOLLOW: ("cross",)}


@dataclass(frozen=True)
class ControlPair:
    """The videos of one replaced driver.

    Attributes:
        base: Readings of the video that clip A drives throughout.
        source: Readings of clip B.
        own: Readings of clip A.
        changed: Readings of the videos whose control of that name alone is driven by B.
        name: Of the pair.
    """

    base: Readings = field(repr=False)
    source: Readings = field(repr=False)
    own: Readings = field(repr=False)
    changed: Mapping[Control, Readings] = field(repr=False)
    name: str


@dataclass(frozen=True)
class FollowedVideo(Generic[AnyReadings]):
    """One video and its drivers, by control; some may be missing."""

    output: AnyReadings = field(repr=False)
    drivers: Mapping[Control, AnyReadings] = field(repr=False)
    name: str


@dataclass(frozen=True)
class ControlCell:
    """Agreement of one measure with one control.

    Attributes:
        pooled: Over all pairs together.
        pairs: Of each pair, by name.
    """

    control: Control
    measure: str
    pooled: Agreement
    pairs: Mapping[str, Agreement]

    @property
    def on_diagonal(self) -> bool:
        """Whether the measure belongs to the control."""
        return ALL_MEASURES[self.measure] == self.control


@dataclass(frozen=True)
class ControlMatrix:
    """Every control against every measure.

    Attributes:
        protocol: `CHANGE` or `FOLLOW`.
        cells: Sorted by control, then in the order of the reader's measures.
        means: Agreement of the videos' means with those of the slow control's drivers, by measure.
    """

    protocol: MatrixProtocol
    cells: tuple[ControlCell, ...]
    means: Mapping[str, Agreement] = field(default_factory=dict)

    def cell(self, control: Control, measure: str) -> ControlCell:
        """One cell.

        Raises:
            ValueError: there is none.
        """
        for cell in self.cells:
            if (cell.control, cell.measure) == (control, measure):
                return cell
        raise ValueError(f"no cell of control {control} and measure {measure}")

    @property
    def follow(self) -> float | None:
        """Mean correlation on the diagonal, -1 to 1; None where no cell of it has one.

        Here and in `leak` a measure that did not move while its driver did counts as 0.
        """
        return _mean([cell.pooled.followed for cell in self.cells if cell.on_diagonal])

    @property
    def leak(self) -> float | None:
        """Mean magnitude of the correlation off the diagonal, 0 to 1; None where no cell there has one."""
        values = [cell.pooled.followed for cell in self.cells if not cell.on_diagonal]
        return _mean([None if value is None else abs(value) for value in values])

    @property
    def score(self) -> float | None:
        """`follow` - `leak`, -2 to 1: 1 is perfect control, 0 none (a frozen video); None if either is."""
        return None if self.follow is None or self.leak is None else self.follow - self.leak

    def records(self, task: Task, method: str, scorer: str = SCORER) -> list[MetricRecord]:
        """Correlation and gain of each cell of each pair, then the score of each pair and of all pairs.

        The score of the pooled cells is one record, its video `ALL_PAIRS`.
        """
        records: list[MetricRecord] = []
        for cell in self.cells:
            metrics = cell_metrics(self.protocol, cell.control, cell.measure)
            for name, agreement in cell.pairs.items():
                video = MeasuredVideo(task, method, scorer, name)
                for metric in metrics:
                    records += metric.records([(video, agreement, None)])
        over_all = MeasuredVideo(task, method, scorer, ALL_PAIRS)
        for measure, agreement in self.means.items():
            for metric in mean_metrics(measure):
                records += metric.records([(over_all, agreement, None)])
        scores, score = score_metrics(self.protocol)
        for name in dict.fromkeys(name for cell in self.cells for name in cell.pairs):
            records += scores.records(
                [(MeasuredVideo(task, method, scorer, name), self._of_pair(name), None)]
            )
        return records + score.records([(over_all, self, None)])

    def _of_pair(self, name: str) -> "ControlMatrix":
        cells = (
            ControlCell(cell.control, cell.measure, cell.pairs[name], {})
            for cell in self.cells
            if name in cell.pairs
        )
        return ControlMatrix(self.protocol, tuple(cells))


def measure_cell_correlation(agreement: Agreement, _: None) -> Measurement:
    """Correlation of one pair in one cell."""
    return Measurement(agreement.correlation, agreement.missing_because)


def measure_cell_gain(agreement: Agreement, _: None) -> Measurement:
    """Slope of one pair in one cell."""
    return Measurement(agreement.gain, agreement.missing_because)


def measure_score(matrix: ControlMatrix, _: None) -> Measurement:
    """`ControlMatrix.score`."""
    if matrix.score is None:
        return Measurement(None, "no cell on or off the diagonal has a correlation")
    return Measurement(matrix.score)


def cell_metrics(
    protocol: MatrixProtocol, control: Control, measure: str
) -> tuple[Metric[Agreement, None], Metric[Agreement, None]]:
    """Correlation and gain of a cell; off the diagonal neither direction of a correlation is better."""
    direction: Direction = "higher" if ALL_MEASURES[measure] == control else "neither"
    tasks = TASKS[protocol]
    name, gain = f"{protocol}_{control}_{measure}", f"{protocol}_gain_{control}_{measure}"
    return (
        Metric(name, protocol, "", direction, measure_cell_correlation, tasks=tasks),
        Metric(gain, protocol, "", "neither", measure_cell_gain, tasks=tasks),
    )


def mean_metrics(measure: str) -> tuple[Metric[Agreement, None], Metric[Agreement, None]]:
    """Correlation and gain of the means of a measure of the slow control, over all pairs."""
    name, gain = f"{CHANGE}_of_means_{measure}", f"{CHANGE}_of_means_gain_{measure}"
    tasks = TASKS[CHANGE]
    return (
        Metric(name, CHANGE, "", "higher", measure_cell_correlation, tasks=tasks, over_all_videos=True),
        Metric(gain, CHANGE, "", "neither", measure_cell_gain, tasks=tasks, over_all_videos=True),
    )


def score_metrics(
    protocol: MatrixProtocol,
) -> tuple[Metric[ControlMatrix, None], Metric[ControlMatrix, None]]:
    """Score of one pair, and of all pairs pooled."""
    tasks = TASKS[protocol]
    return (
        Metric(f"{protocol}_score_one_pair", protocol, "", "higher", measure_score, tasks=tasks),
        Metric(f"{protocol}_score", protocol, "", "higher", measure_score, tasks=tasks, over_all_videos=True),
    )


MATRIX_METRICS: Final[tuple[Metric[Any, None], ...]] = tuple(
    metric
    for protocol in PROTOCOLS
    for metric in (
        *(
            metric
            for control in CONTROLS
            for measure in ALL_MEASURES
            for metric in cell_metrics(protocol, control, measure)
        ),
        *score_metrics(protocol),
    )
) + tuple(
    metric for measure, control in ALL_MEASURES.items() if control == SLOW for metric in mean_metrics(measure)
)


def control_change(pairs: Sequence[ControlPair]) -> ControlMatrix:
    """The matrix of protocol `control_change`; a control that no pair changed has no cells.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("need at least one pair of clips, got none")
    cells = [
        _cell(
            control,
            measure,
            {pair.name: _change(pair, control, measure) for pair in pairs if control in pair.changed},
        )
        for control in CONTROLS
        if any(control in pair.changed for pair in pairs)
        for measure in pairs[0].base.measures
    ]
    slow = [measure for measure in pairs[0].base.measures if ALL_MEASURES[measure] == SLOW]
    changed = [pair for pair in pairs if SLOW in pair.changed]
    means = {
        measure: compare_means([_change(pair, SLOW, measure) for pair in changed])
        for measure in slow
        if changed
    }
    return ControlMatrix(CHANGE, tuple(cells), means)


def compare_means(changes: Sequence[tuple[Array, Array]]) -> Agreement:
    """Agreement of the means of changes of videos and of drivers, one point a pair, through the origin."""
    read = [both_read(output, driver) for output, driver in changes]
    points = [(float(output.mean()), float(driver.mean())) for output, driver in read if len(output)]
    if len(points) < FEWEST_PAIRS:
        return Agreement(None, None, len(points), f"read in {len(points)} pairs, need {FEWEST_PAIRS}")
    output, driver = np.array(points).T
    shared, power, moved = float(output @ driver), float(driver @ driver), float(output @ output)
    if not power or not moved:
        return Agreement(None, None, len(points), "no mean changes", still=bool(power))
    correlation = shared / float(np.sqrt(power * moved))
    return Agreement(float(np.clip(correlation, -1.0, 1.0)), shared / power, len(points))


def control_follow(videos: Sequence[FollowedVideo[AnyReadings]]) -> ControlMatrix:
    """The matrix of protocol `control_follow`; a control without a driver in any video has no cells.

    Raises:
        ValueError: there is no video.
    """
    if not videos:
        raise ValueError("need at least one video, got none")
    cells = [
        _cell(
            control,
            measure,
            {video.name: _follow(video, control, measure) for video in videos if control in video.drivers},
        )
        for control in CONTROLS
        if any(control in video.drivers for video in videos)
        for measure in videos[0].output.measures
    ]
    return ControlMatrix(FOLLOW, tuple(cells))


def _change(pair: ControlPair, control: Control, measure: str) -> tuple[Array, Array]:
    changed = pair.changed[control]
    frames = min(map(len, (pair.base, pair.source, pair.own, changed)))
    changed, base, source, own = (
        readings.measure(measure)[:frames] for readings in (changed, pair.base, pair.source, pair.own)
    )
    return changed - base, source - own


def _follow(video: FollowedVideo[AnyReadings], control: Control, measure: str) -> tuple[Array, Array]:
    return video.output.measure(measure), video.drivers[control].measure(measure)


def _cell(control: Control, measure: str, series: Mapping[str, tuple[Array, Array]]) -> ControlCell:
    still_below = STILL_BELOW[measure]
    pairs = {name: compare_series(output, driver, still_below) for name, (output, driver) in series.items()}
    centred: list[tuple[Array, Array]] = []
    for name, (output, driver) in series.items():
        if pairs[name].followed is not None:
            a, b = both_read(output, driver)
            centred.append((a - a.mean(), b - b.mean()))
    if not centred:
        reasons = "; ".join(sorted({agreement.missing_because for agreement in pairs.values()}))
        return ControlCell(control, measure, Agreement(None, None, 0, reasons), pairs)
    output, driver = (np.concatenate(parts) for parts in zip(*centred, strict=True))
    return ControlCell(control, measure, compare_series(output, driver, still_below), pairs)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
