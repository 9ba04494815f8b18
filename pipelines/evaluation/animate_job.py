"""The job `animate`: what `pdfgc animate` does, with a form in the launchpad."""

from typing import Any, Final

from dagster import Failure, MetadataValue, Nothing, OpExecutionContext, Out, job, op

from evaluation.animation.request import AnimateOrder, AnimateProgress, AnimateReport
from pipelines.forms import config_class
from pipelines.metadata import picture
from pipelines.operations.instance import GPU_POOL
from pipelines.resources import WorkspaceResource

NOT_ASKED: Final = ("official_networks", "frames_at_once")  # nor are they options of the command
LINES_PER_STEP: Final = 10  # of progress; each is an event in Dagster's store


class AnimateConfig(config_class(AnimateOrder, left_out=NOT_ASKED)):
    """Portrait, drivers and strengths of one video."""


class ProgressLines:
    """Turns progress into a few log lines a step."""

    def __init__(self, context: OpExecutionContext) -> None:
        self._context = context
        self._told = ("", 0)

    def __call__(self, progress: AnimateProgress) -> None:
        """Say a tenth of a step once; where the end is not known, every hundred frames."""
        share = 100 if progress.total is None else max(1, progress.total // LINES_PER_STEP)
        here = (progress.step, progress.done // share)
        if here != self._told:
            self._told = here
            of = "" if progress.total is None else f" of {progress.total}"
            self._context.log.info("%s: %d%s frames", progress.step, progress.done, of)


@op(
    pool=GPU_POOL,
    out=Out(Nothing),
    tags={"kind": "pytorch"},
    description="Make the video that the form asks for; paths are of the machine that runs it.",
)
def animate_portrait(
    context: OpExecutionContext, config: AnimateConfig, workspace: WorkspaceResource
) -> None:
    """One portrait and up to four drivers into a video."""
    try:
        order = config.to_settings()
        from evaluation.animation.animate import (
            animate as make_video,  # seconds, which a wrong form need not wait for
        )

        report = make_video(order, ProgressLines(context), workspace.open())
    except (ValueError, OSError) as error:
        # The line says all, and another try would end the same: a person has to give another file.
        raise Failure(description=str(error), allow_retries=False) from None
    for note in report.notes:
        context.log.info("%s", note)
    context.add_output_metadata(report_metadata(report))


def report_metadata(report: AnimateReport) -> dict[str, Any]:
    """First where the video is and how it looks, then what a person should know, then the costs."""
    from evaluation.animation.video_sheet import draw_frame_sheet

    metadata: dict[str, Any] = {"video": MetadataValue.path(str(report.output))}
    if report.grid is not None:
        metadata["side by side"] = MetadataValue.path(str(report.grid))
    shown, count = (report.output, 10) if report.grid is None else (report.grid, 6)
    sheet = draw_frame_sheet(shown, report.frames, count=count)
    return metadata | {
        "picture: contact sheet": picture(sheet),
        "notes": MetadataValue.md("\n".join(f"- {note}" for note in report.notes) or "none"),
        "checkpoint": report.checkpoint,
        "frames": report.frames,
        "side in px": report.side_px,
        "seconds of video": report.seconds,
        "seconds": round(report.wall_seconds, 2),
        "frames per second": round(report.frames / report.wall_seconds, 2),
    }


@job(description="One portrait, and sound and videos that drive it, into a video: `pdfgc animate` as a form.")
def animate() -> None:
    """The job of one op."""
    animate_portrait()
