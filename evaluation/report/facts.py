"""What the report's figures were made of, in words."""

from importlib.metadata import version

from evaluation.generation.files import GENERATED_VIDEOS
from evaluation.report.page import Fact
from evaluation.report.sources import DIGEST_DIGITS, RunSources


def heading_facts(sources: RunSources, report_version: str) -> list[Fact]:
    """What stands under the heading: whose figures, of which data, by which code, from when."""
    newest = max(one.manifest.finished_at for one in sources.published.values())
    people = {facts.identity for facts in sources.facts.clips.values()}
    plan = sources.plan
    return [
        Fact("Checkpoint", f"{sources.facts.checkpoint}, weights {sources.checkpoint}"),
        Fact("Data set", f"{sources.dataset}, split {plan.split}"),
        Fact("Protocol", f"{plan.name}: {len(plan.reenactments)} videos of {len(people)} people"),
        Fact("Pictures", f"{sources.facts.side_px} px, 25 frames a second"),
        Fact("Measured", _minute(newest)),
        Fact("Code", f"pdfgc {version('pdfgc')}, report {report_version}"),
    ]


def made_of(sources: RunSources) -> list[Fact]:
    """Every published thing that the figures come from, by its content."""
    evaluations = [
        Fact(
            asset,
            f"{one.manifest.content_digest[:DIGEST_DIGITS]}, code version {one.manifest.code_version}, "
            f"made {_minute(one.manifest.finished_at)}",
        )
        for asset, one in sources.published.items()
    ]
    inputs = sources.published[GENERATED_VIDEOS].manifest.inputs
    weights = [Fact(f"videos made of {name}", digest[:DIGEST_DIGITS]) for name, digest in inputs.items()]
    plan = sources.plan
    drawn = Fact("plan", f"{plan.name}, of data set {sources.dataset}, seed {plan.seed}")
    return [*evaluations, *weights, drawn]


def _minute(timestamp: str) -> str:
    """A manifest's time (UTC, ISO 8601) to the minute."""
    return f"{timestamp[:16].replace('T', ' ')} UTC"
