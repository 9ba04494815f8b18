"""How good the pictures of a run's videos are, and whether they show the portrait's person.

Of self videos PSNR, SSIM, LPIPS and FID against the true clip at the networks' size; of self and cross videos
sharpness and identity. What wants outside weights and has none stands there as missing, with what to give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.files import GENERATED_VIDEOS, open_generated
from evaluation.records import RECORDS_TABLE, write_records
from storage.publishing import BuildReport, Published, Recipe, materialise
from weights.resolve import resolve_weights, write_pretrained_weights

QUALITY_EVALUATION: Final = "quality_evaluation"
CODE_VERSION: Final = "1"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class QualityWeights:
    """Outside weights; None: that metric is missing."""

    csim: Path | None = None
    lpips: Path | None = None
    fid: Path | None = None


def run_quality_evaluation(
    root: UPath, config: EvaluationConfig, *, force: bool = False, progress: Progress
) -> Published:
    """Measure a run's videos unless that is done: `metric_records.parquet`.

    Raises:
        FileNotFoundError: weights are named and are not there.
        ValueError: there are no videos, or weights are not what they should be or may not be used.
    """
    videos, made = open_generated(root, config.run)
    files = {
        "csim": resolve_weights(config.csim_weights, "csim_weights"),
        "lpips": resolve_weights(config.lpips_weights, "lpips_weights"),
        "fid": resolve_weights(config.fid_weights, "fid_weights"),
    }
    weights = QualityWeights(**{name: None if file is None else file.path for name, file in files.items()})
    recipe = Recipe(
        QUALITY_EVALUATION,
        config.run,
        CODE_VERSION,
        {"weights_sha256": {name: None if file is None else file.sha256 for name, file in files.items()}},
        {GENERATED_VIDEOS: videos.manifest.content_digest},
    )

    def build(work: Path) -> BuildReport:
        from evaluation.suites.quality_rows import quality_rows

        progress(f"comparing the pictures of {len(made.plan.reenactments)} videos")
        rows = quality_rows(made, weights)
        write_records(work / RECORDS_TABLE, rows)
        write_pretrained_weights(work, files.values())
        missing = sum(row.value is None for row in rows)
        return BuildReport(counts={"figures": len(rows), "missing": missing}, refusals={})

    return materialise(root, recipe, build, force=force)
