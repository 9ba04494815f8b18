"""The ten figures of the report's first screen: the model's value, the baselines', and what it means.

Correlations are those of the pooled control matrix (`control_follow`, every driver from another clip); where
it was not measured, the mean over self videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evaluation.metrics.control.matrix import CHANGE, FOLLOW
from evaluation.readings.face import MEASURES, SCORER
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, RecordKey, Summary
from evaluation.report.matrix import MatrixCell, build_matrices
from evaluation.report.numbers import MINUS, NO_VALUE, correlation_text, number
from evaluation.report.results import Results

Tone = Literal["good", "fair", "poor", "none"]
FOLLOWED: Final[Mapping[str, str]] = {
    "yaw": "head turns (yaw)",
    "pitch": "nods (pitch)",
    "mouth_opening": "mouth by sound",
    "blink": "blinks",
    "gaze_yaw": "gaze sideways",
    "smile": "smile",
}
FOLLOWS: Final = 0.8
FOLLOWS_ROUGHLY: Final = 0.5
FOLLOWS_WEAKLY: Final = 0.25
SMALL_GAIN: Final = 0.6
SMALL_LEAK: Final = 0.25
LARGE_LEAK: Final = 0.5
EVERY_FRAME: Final = 0.995
"""Bounds of the words in the last column; ours."""
TIMES: Final = "\N{MULTIPLICATION SIGN}"
TRAIN_LONGER: Final = ": train longer"
METHODS: Final = (MODEL, COPY_PORTRAIT, COPY_TARGET)
"""Always shown; the ground truth where its control matrix was measured, as the bound of what can be read."""


@dataclass(frozen=True)
class KeyFigure:
    """A row of the first screen.

    Attributes:
        name: What it is about.
        protocol: Metric and task.
        texts: Method -> its value, a dash where there is none.
        meaning: The model's value in words, or why there is none.
        tone: How good it is.
    """

    name: str
    protocol: str
    texts: Mapping[str, str]
    meaning: str
    tone: Tone


@dataclass(frozen=True)
class _Agreement:
    """Correlation and gain of a measure with its driver; None where there is none."""

    correlation: float | None
    gain: float | None
    missing_because: str = ""

    @property
    def text(self) -> str:
        if self.correlation is None or self.gain is None:
            return correlation_text(self.correlation)
        return f"{correlation_text(self.correlation)} {TIMES}{correlation_text(self.gain)}"


class FigureBook:
    """Looks figures up in the results of one evaluation.

    Args:
        results: Means of all metrics.
        cells: Of all control matrices.
        advice: What is added to a meaning that calls for it; empty for videos of other programs.
        scorer_suffix: Of the scorers' names, where one protocol of several is shown.
    """

    def __init__(
        self,
        results: Results,
        cells: Sequence[MatrixCell],
        advice: str = TRAIN_LONGER,
        scorer_suffix: str = "",
    ) -> None:
        self._summaries, self._suffix = results.summaries, scorer_suffix
        self._cells = [cell for cell in cells if cell.scorer == SCORER + scorer_suffix]
        bounded = any(cell.method == GROUND_TRUTH for cell in self._cells)
        self._methods = (MODEL, GROUND_TRUTH, *METHODS[1:]) if bounded else METHODS
        self._advice = advice

    def figures(self) -> tuple[KeyFigure, ...]:
        """All ten, measured or not."""
        return (
            self._face(),
            *(self._followed(measure) for measure in FOLLOWED),
            self._leak(),
            self._score(),
            self._psnr(),
        )

    def _face(self) -> KeyFigure:
        tasks = ("cross", "self", "control")
        found = {method: self._summary("face_found_share", tasks, method) for method in self._methods}
        texts = {
            method: NO_VALUE if one is None or one.mean is None else f"{100 * one.mean:.0f} %"
            for method, one in found.items()
        }
        meaning, tone = self._face_meaning(found[MODEL])
        return KeyFigure(
            "frames with a face", f"face_found_share, {_task(found[MODEL])}", texts, meaning, tone
        )

    def _face_meaning(self, found: Summary | None) -> tuple[str, Tone]:
        if found is None or found.mean is None:
            return _not_measured(found), "none"
        if found.mean >= EVERY_FRAME:
            return "a face in every frame", "good"
        missing = 100 * (1 - found.mean)
        tone: Tone = "fair" if found.mean > 0.9 else "poor"
        return f"no face is found in {missing:.0f} % of frames{self._advice}", tone

    def _followed(self, measure: str) -> KeyFigure:
        agreements = {method: self._agreement(measure, method) for method in self._methods}
        texts = {method: one.text for method, one in agreements.items()}
        protocol = f"r {TIMES}gain, {MEASURES[measure]} driver"
        meaning, tone = self._following_meaning(agreements[MODEL])
        return KeyFigure(FOLLOWED[measure], protocol, texts, meaning, tone)

    def _following_meaning(self, agreement: _Agreement) -> tuple[str, Tone]:
        r, gain = agreement.correlation, agreement.gain
        if r is None:
            return f"not measured: {agreement.missing_because}", "none"
        if r < FOLLOWS_WEAKLY:
            return f"does not follow its driver{self._advice}", "poor"
        if r < FOLLOWS_ROUGHLY:
            return "follows its driver weakly", "fair"
        how = "follows its driver" if r >= FOLLOWS else "follows its driver roughly"
        if gain is not None and gain < SMALL_GAIN:
            return f"{how}, moves {100 * gain:.0f} % as far", "fair"
        return how, "good" if r >= FOLLOWS else "fair"

    def _leak(self) -> KeyFigure:
        worst = {method: self._worst_leak(method) for method in self._methods}
        texts = {
            method: correlation_text(None if cell is None else abs(_correlation(cell)))
            for method, cell in worst.items()
        }
        name, protocol = "largest leak", "|r| with another control's driver"
        cell = worst[MODEL]
        if cell is None:
            return KeyFigure(name, protocol, texts, "not measured: no control matrix", "none")
        size = abs(_correlation(cell))
        if size < SMALL_LEAK:
            return KeyFigure(name, protocol, texts, "each driver moves its own control alone", "good")
        measure = cell.measure.replace("_", " ")
        tone: Tone = "fair" if size < LARGE_LEAK else "poor"
        return KeyFigure(name, protocol, texts, f"the {cell.driver} driver also moves {measure}", tone)

    def _score(self) -> KeyFigure:
        scores = {method: self._control_score(method) for method in self._methods}
        texts = {method: correlation_text(score) for method, score in scores.items()}
        name, protocol = "control score", f"follow {MINUS} leak; 1 best, 0 a still picture"
        score, baseline = scores[MODEL], scores[COPY_PORTRAIT] or 0.0
        if score is None:
            return KeyFigure(name, protocol, texts, "not measured: no control matrix", "none")
        if score <= baseline + 0.1:
            return KeyFigure(name, protocol, texts, f"no better than a still picture{self._advice}", "poor")
        good = score >= FOLLOWS_ROUGHLY
        meaning = "most controls work, and apart" if good else "some controls work"
        return KeyFigure(name, protocol, texts, meaning, "good" if good else "fair")

    def _psnr(self) -> KeyFigure:
        metrics = [key.metric for key in self._summaries if key.metric.startswith("psnr_")]
        metric = next((name for name in metrics if "cross_truth" not in name), "psnr")
        found = {method: self._summary(metric, ("self",), method, "torchmetrics") for method in self._methods}
        means = {method: None if one is None else one.mean for method, one in found.items()}
        texts = {
            method: NO_VALUE if mean is None else f"{number(mean, 1)} dB" for method, mean in means.items()
        }
        name, protocol = "likeness to the true video", f"{metric}, self"
        mean, still = means[MODEL], means[COPY_PORTRAIT]
        if mean is None:
            reason = (
                _not_measured(found[MODEL]) if found[MODEL] else "not measured: no video with a known truth"
            )
            return KeyFigure(name, protocol, texts, reason, "none")
        if still is None:
            return KeyFigure(name, protocol, texts, "no baseline was measured", "none")
        words = f"{number(abs(mean - still), 1)} dB {'above' if mean > still else 'below'} the still portrait"
        return KeyFigure(name, protocol, texts, words, "good" if mean > still else "poor")

    def _summary(
        self, metric: str, tasks: Sequence[str], method: str, scorer: str = SCORER
    ) -> Summary | None:
        """The mean of the first of some tasks that has a value, else the first without."""
        keys = [RecordKey(metric, task, method, scorer + self._suffix) for task in tasks]
        summaries = [self._summaries[key] for key in keys if key in self._summaries]
        measured = [summary for summary in summaries if summary.mean is not None]
        return next(iter([*measured, *summaries]), None)

    def _matrix(self, method: str) -> list[MatrixCell]:
        """Cells of the protocol of the model's matrix; empty if it has none."""
        protocols = {cell.protocol for cell in self._cells if cell.method == MODEL}
        chosen = next((name for name in (FOLLOW, CHANGE) if name in protocols), "")
        return [cell for cell in self._cells if (cell.method, cell.protocol) == (method, chosen)]

    def _agreement(self, measure: str, method: str) -> _Agreement:
        for cell in self._matrix(method):
            if cell.measure == measure and cell.own and cell.scored_correlation is not None:
                return _Agreement(cell.scored_correlation, None if cell.still else cell.gain)
        # Beside cells of other controls, a mean over self videos would be read as theirs.
        tasks = ("cross",) if self._matrix(MODEL) else ("cross", "self")
        summary = self._summary(f"{measure}_correlation", tasks, method)
        gain = self._summary(f"{measure}_gain", tasks, method)
        if summary is None or summary.mean is None:
            return _Agreement(None, None, _reason(summary))
        return _Agreement(summary.mean, None if gain is None else gain.mean)

    def _worst_leak(self, method: str) -> MatrixCell | None:
        others = [
            cell for cell in self._matrix(method) if not cell.own and cell.scored_correlation is not None
        ]
        return max(others, key=lambda cell: abs(_correlation(cell)), default=None)

    def _control_score(self, method: str) -> float | None:
        cells = self._matrix(method)
        return build_matrices(cells)[0].score if cells else None


def verdict(figures: Sequence[KeyFigure]) -> str:
    """One sentence from the figures: faces, what follows its driver, and what does not."""
    face, followed = figures[0], figures[1 : 1 + len(FOLLOWED)]
    parts = [face.meaning] if face.tone != "none" else []
    for tone, words in (("good", "follows its driver in"), ("fair", "partly in"), ("poor", "not in")):
        names = [figure.name for figure in followed if figure.tone == tone]
        if names:
            parts.append(f"{words} {', '.join(names)}")
    text = "; ".join(parts) or "nothing that this page summarises was measured"
    return f"{text[0].upper()}{text[1:]}."


def _correlation(cell: MatrixCell) -> float:
    assert cell.scored_correlation is not None  # the caller selected such cells
    return cell.scored_correlation


def _task(summary: Summary | None) -> str:
    return "not measured" if summary is None else summary.key.task


def _reason(summary: Summary | None) -> str:
    return next(iter(summary.missing), "no values") if summary is not None else "no such videos"


def _not_measured(summary: Summary | None) -> str:
    return f"not measured: {_reason(summary)}"
