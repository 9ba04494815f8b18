"""The control matrix: change one driver alone, and see which measures go with it.

A cell [control d, measure m] tells how m went when d's driver was another clip's. On the diagonal, where m
belongs to d (`ALL_MEASURES`), 1 is perfect following; off it, 0 is no leak. Two protocols, never in one
table:

* `control_change`: two videos of one portrait, one driven by A's clip throughout, one with d alone from
  B's. The change of m between both videos against the difference of m between B's clip and A's.
* `control_follow`: one video whose controls are driven by different clips. m of the video against m of d's
  driver.

Frame t goes with frame t; what one series has beyond another's end is left out. A cell holds a correlation
pooled over pairs: each pair's two series less their means, one behind the other. The correlation says nothing
of size, the gain does.

Unrelated movements correlate by chance, the more the shorter the clip, and no driver's independence can
prevent it. So the one number is taken from the pooled cells; a single pair's stands under another name.
Readings of 64-frame demo clips at 64 px, put together as perfect control would have them, score .85 over 8
pairs of `control_change` and 16 videos of `control_follow` (follow .92 and .93, leak .07), but .62 in the
mean of those 16 videos' own scores. Wholly entangled controls score 0 in `control_change`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic

import numpy as np

from evaluation.controls import CONTROLS, Control
from evaluation.metrics.control.series import STILL_BELOW, Agreement, Array, both_read, compare_series
from evaluation.metrics.measured_video import Figure, MeasuredVideo
from evaluation.readings.face import SCORER
from evaluation.readings.measures import ALL_MEASURES
from evaluation.readings.protocol import AnyReadings, Readings
from evaluation.records import Direction, MetricRecord

ALL_PAIRS: Final = "all pairs"
CHANGE: Final = "control_change"
FOLLOW: Final = "control_follow"


@dataclass(frozen=True)
class ControlPair:
    """One change of drivers.

    Attributes:
        base: readings of the video that A's clip drives throughout.
        source: of B's clip.
        own: of A's clip.
        changed: of the videos with that control alone from B's clip.
        name: of the pair.
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
    """How one measure went with one control.

    Attributes:
        pooled: over all pairs together.
        pairs: each pair's own, by name.
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
        metric: `CHANGE` or `FOLLOW`.
        cells: control by control, in the order of the readers' measures within.
    """

    metric: str
    cells: tuple[ControlCell, ...]

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

        Here and in `leak` a measure that stood still while its driver moved counts as 0.
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

    def rows(self, *, task: str, method: str, scorer: str = SCORER) -> list[MetricRecord]:
        """Every pair's figures, correlation and gain of each cell; then the scores.

        The score of the pooled cells stands in one row, whose video is `ALL_PAIRS`.
        """
        rows: list[MetricRecord] = []
        for cell in self.cells:
            for name, agreement in cell.pairs.items():
                shown = MeasuredVideo(task, method, scorer, name)
                direction: Direction = "higher" if cell.on_diagonal else "neither"
                because = agreement.missing_because
                correlation, gain = Figure(agreement.correlation, because), Figure(agreement.gain, because)
                rows.append(shown.figure(correlation_name(self.metric, cell), correlation, "", direction))
                rows.append(shown.figure(gain_name(self.metric, cell), gain, "", "neither"))
        return rows + self._score_rows(task, method, scorer)

    def _score_rows(self, task: str, method: str, scorer: str) -> list[MetricRecord]:
        names = list(dict.fromkeys(name for cell in self.cells for name in cell.pairs))
        rows: list[MetricRecord] = []
        for name in names:
            own = tuple(
                ControlCell(cell.control, cell.measure, cell.pairs[name], {})
                for cell in self.cells
                if name in cell.pairs
            )
            shown = MeasuredVideo(task, method, scorer, name)
            score = ControlMatrix(self.metric, own).score_figure()
            rows.append(shown.figure(score_name(self.metric, one_pair=True), score, "", "higher"))
        shown = MeasuredVideo(task, method, scorer, ALL_PAIRS)
        return [*rows, shown.figure(score_name(self.metric), self.score_figure(), "", "higher")]

    def score_figure(self) -> Figure:
        """`score`, or why there is none."""
        if self.score is None:
            return Figure(None, "no cell on or off the diagonal has a correlation")
        return Figure(self.score)


def correlation_name(metric: str, cell: ControlCell) -> str:
    """Metric of a cell's correlation."""
    return f"{metric}_{cell.control}_{cell.measure}"


def gain_name(metric: str, cell: ControlCell) -> str:
    """Metric of a cell's slope."""
    return f"{metric}_gain_{cell.control}_{cell.measure}"


def score_name(metric: str, *, one_pair: bool = False) -> str:
    """Metric of the one number, of all pairs together or of a single one."""
    return f"{metric}_score_one_pair" if one_pair else f"{metric}_score"


def control_change(pairs: Sequence[ControlPair]) -> ControlMatrix:
    """The matrix of changes; a control that no pair changed has no cells.

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
    return ControlMatrix(CHANGE, tuple(cells))


def control_follow(videos: Sequence[FollowedVideo[AnyReadings]]) -> ControlMatrix:
    """The matrix of following; a control that no video has a driver of has no cells.

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
    pairs = {name: compare_series(made, driver, still_below) for name, (made, driver) in series.items()}
    centred: list[tuple[Array, Array]] = []
    for name, (made, driver) in series.items():
        if pairs[name].followed is not None:
            there = both_read(made, driver)
            centred.append((there[0] - there[0].mean(), there[1] - there[1].mean()))
    if not centred:
        reasons = "; ".join(sorted({agreement.missing_because for agreement in pairs.values()}))
        return ControlCell(control, measure, Agreement(None, None, 0, reasons), pairs)
    together = [np.concatenate(parts) for parts in zip(*centred, strict=True)]
    return ControlCell(control, measure, compare_series(together[0], together[1], still_below), pairs)


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
