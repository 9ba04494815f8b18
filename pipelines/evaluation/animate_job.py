"""The job `animate`: `pdfgc animate` as a form in the launchpad."""

from typing import Any, Final

from dagster import MetadataValue, Nothing, OpExecutionContext, Out, job, op
from upath import UPath

from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest
from pipelines.forms import config_class
from pipelines.operations.instance import GPU_POOL
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.resources import WorkspaceResource
from pipelines.web.locations import root_link, store_picture
from storage.printable import display_text

LEFT_OUT: Final = ("official_networks", "frames_at_once")  # also not options of the command
LINES_PER_STEP: Final = 10  # of progress; each line is an event in Dagster's database


class AnimateConfig(config_class(AnimateRequest, left_out=LEFT_OUT)):
    """Portrait, drivers and strengths of one video."""


class ProgressLines:
    """Logs progress, with a few lines per step."""

    def __init__(self, context: OpExecutionContext) -> None:
        self._context = context
        self._logged = ("", 0)

    def __call__(self, progress: AnimateProgress) -> None:
        """Log each tenth of a step once; every hundred frames if the total is unknown."""
        share = 100 if progress.total is None else max(1, progress.total // LINES_PER_STEP)
        position = (progress.step, progress.done // share)
        if position != self._logged:
            self._logged = position
            of = "" if progress.total is None else f" of {progress.total}"
            self._context.log.info("%s: %d%s frames", progress.step, progress.done, of)


@op(
    pool=GPU_POOL,
    out=Out(Nothing),
    tags={"kind": "pytorch"},
    description="Animate a portrait. Paths are on the machine that runs it.",
)
def animate_portrait(
    context: OpExecutionContext, config: AnimateConfig, workspace: WorkspaceResource
) -> None:
    """Animate a portrait with up to four drivers."""
    with guarded_step(context):
        request = config.to_settings()
        # Slow; after the form is validated.
        from evaluation.animation.animate import animate as render
        from evaluation.animation.limited_reading import READING_LIMITS, LimitedReader

        with LimitedReader(READING_LIMITS) as limited:
            report = render(request, ProgressLines(context), workspace.open(), limited)
    for note in report.notes:
        context.log.info("%s", display_text(note))
    context.add_output_metadata(report_metadata(report, workspace.open()))


def report_metadata(report: AnimateReport, root: UPath) -> dict[str, Any]:
    """Links to the video and to its contact sheet (paths outside the root), notes, and costs."""
    from evaluation.animation.sheets import draw_frame_sheet

    metadata: dict[str, Any] = {"video": root_link(root, report.output)}
    if report.grid is not None:
        metadata["side by side"] = root_link(root, report.grid)
    shown, count = (report.output, 10) if report.grid is None else (report.grid, 6)
    sheet = draw_frame_sheet(shown, report.frames, count=count)
    return metadata | {
        "picture: contact sheet": store_picture(root, f"animate/{report.output.stem}", sheet),
        "notes": MetadataValue.md("\n".join(f"- {display_text(note)}" for note in report.notes) or "none"),
        "checkpoint": report.checkpoint,
        "frames": report.frames,
        "side (px)": report.side_px,
        "duration (s)": report.seconds,
        "seconds": round(report.wall_seconds, 2),
        "frames per second": round(report.frames / report.wall_seconds, 2),
    }


@job(description="Animate a portrait with audio and driving videos, as pdfgc animate does.")
def animate() -> None:
    """A job with one op."""
    animate_portrait()
