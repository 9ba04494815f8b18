"""The report's first screen: the film, the control matrix, ten figures, and a sentence of what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from evaluation.controls import CONTROLS, Control
from evaluation.generation.files import GENERATED_VIDEOS, ClipFacts
from evaluation.generation.reenactment import Reenactment
from evaluation.metrics.control.matrix import FOLLOW
from evaluation.records import MODEL
from evaluation.report.key_figures import FigureBook, KeyFigure, verdict
from evaluation.report.matrix import ReportMatrix
from evaluation.report.results import Results
from evaluation.report.sources import RunSources
from evaluation.report.videos import (
    GENERATED,
    ReportVideo,
    VideoPanel,
    VideoSettings,
    encode_panels,
    plan_panels,
)

DRIVEN: Final[Mapping[Control, str]] = {
    "lip": "lips and sound",
    "pose": "head pose",
    "eye": "gaze and blinks",
    "expression": "expression",
}
"""What a control drives, in the film's caption."""


@dataclass(frozen=True)
class FirstScreen:
    """What the page shows before anything is opened.

    Attributes:
        film: A portrait, its drivers and the result; None if no video is embedded.
        caption: Whose clips drove the film.
        verdict: One sentence.
        figures: Ten rows.
        matrix: Of the model; None if it was not measured.
    """

    film: ReportVideo | None
    caption: str
    verdict: str
    figures: Sequence[KeyFigure]
    matrix: ReportMatrix | None


def build_first_screen(
    sources: RunSources, results: Results, matrices: Sequence[ReportMatrix], settings: VideoSettings | None
) -> FirstScreen:
    """The first screen of a run's report; its film is the first cross video, else the first video.

    Without `settings` there is no film.
    """
    figures = FigureBook(results, sources.matrix).figures()
    plan = sources.plan
    film, caption = None, ""
    if settings is not None and plan.reenactments:
        reenactment = next(iter([*plan.of_task("cross"), *plan.reenactments]))
        film = _film(sources, reenactment, settings)
        caption = film_caption(reenactment, sources.facts.clips, plan.where)
    return FirstScreen(film, caption, verdict(figures), figures, first_matrix(matrices))


def first_matrix(matrices: Sequence[ReportMatrix]) -> ReportMatrix | None:
    """The model's matrix, of the protocol with every driver from another clip if there is one."""
    of_model = [matrix for matrix in matrices if matrix.method == MODEL]
    ranked = sorted(of_model, key=lambda matrix: matrix.protocol != FOLLOW)
    return next(iter(ranked), None)


def film_caption(reenactment: Reenactment, clips: Mapping[str, ClipFacts], where: str) -> str:
    """Whose face is shown and whose clips drove it."""
    people = {control: clips[key].identity for control, key in reenactment.drivers.items()}
    face = clips[reenactment.portrait].identity
    if set(people.values()) == {face}:
        return f"{reenactment.name}: the first frame of a clip of {face}, driven by that clip; {where}"
    parts = [f"{DRIVEN[control]} of {people[control]}" for control in CONTROLS]
    return f"{reenactment.name}: the face of {face}, driven by {', '.join(parts)}; {where}"


def _film(sources: RunSources, reenactment: Reenactment, settings: VideoSettings) -> ReportVideo:
    panels = film_panels(plan_panels(sources.folders[GENERATED_VIDEOS], reenactment))
    named = [_with_person(panel, sources.facts.clips) for panel in panels]
    return encode_panels(reenactment.name, reenactment.task, named, reenactment.frames, settings)


def film_panels(panels: Sequence[VideoPanel]) -> list[VideoPanel]:
    """Portrait, drivers, then the result."""
    result = [panel for panel in panels if panel.title == GENERATED]
    return [*(panel for panel in panels if panel.title != GENERATED), *result]


def _with_person(panel: VideoPanel, clips: Mapping[str, ClipFacts]) -> VideoPanel:
    """The panel of a clip with its person's name in place of the clip's key."""
    return replace(panel, detail=clips[panel.detail].identity) if panel.detail in clips else panel
