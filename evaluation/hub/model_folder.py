"""A trained run as a folder for a model hub: weights, configuration, model card, evaluation page.

model.safetensors   see `evaluation.animation.exported_model`
config.json         the facts of the file's header, readable without it
README.md           model card with YAML front matter and the run's figures
report.html         the evaluation page, if the run was evaluated
"""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from upath import UPath

from evaluation.animation.checkpoint_abilities import MODEL_NAME, exported_facts, exported_file
from evaluation.animation.exported_model import export_run
from evaluation.report.judges import find_judges
from evaluation.report.run_table import run_table
from evaluation.report.summary import EVALUATION_REPORT, REPORT_PAGE
from storage.disk import disk_errors_at
from storage.publishing import current
from storage.root import local_copy
from training.jobs.config import STARTER_NAME

CONFIG_NAME: Final = "config.json"
CARD_NAME: Final = "README.md"
LOAD: Final = """\
import torch
head = torch.hub.load("PDFGC_REPOSITORY", "talking_head", "FOLDER", source="local")
head.animate("face.jpg", "speech.wav", pose="nod.mp4", output="out.mp4")
"""
WHERE: Final = """\
`PDFGC_REPOSITORY` is a checkout of pdfgc, `FOLDER` this folder. From the terminal:
`pdfgc animate --checkpoint FOLDER --appearance face.jpg --lip speech.wav -o out.mp4`.
"""
ABOUT: Final = """\
Animates a portrait at {side_px} px, 25 fps: lips by sound; head pose, gaze and blinks, and expression each by
a video of their own (PD-FGC, CVPR 2023). Weights are float16.
"""
TERMS: Final = """\
A video made with it shows a person say and do what that person did not: ask them first, and say that it is
generated."""
UNKNOWN_TERMS: Final = """\
The videos it was trained on have terms of their own, which this card does not know."""


@dataclass(frozen=True)
class ExportedModel:
    """What was written: the folder, the size of its weights, and whether it has an evaluation page."""

    folder: Path
    size_bytes: int
    evaluated: bool


def export_folder(root: UPath, run: str, folder: Path) -> ExportedModel:
    """Write a run, or the starter model, into a folder; it appears whole or not at all.

    Args:
        root: Of training runs and their reports.
        run: A trained run, `starter`, or another exported model.
        folder: Must not exist, or be empty.

    Raises:
        FileNotFoundError: an exported model is missing.
        ValueError: the folder is not empty, or as `export_run`.
        DiskError: the disk is full or read-only, or the user has no permission; nothing is left of it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not an empty folder; choose another")
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    with disk_errors_at(folder):
        try:
            evaluated = _write_folder(root, run, work)
            if folder.exists():
                folder.rmdir()
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return ExportedModel(folder, (folder / MODEL_NAME).stat().st_size, evaluated)


def _write_folder(root: UPath, run: str, work: Path) -> bool:
    """Write all files; returns whether there is an evaluation page."""
    work.mkdir(parents=True)
    known = exported_file(run)
    if known is None:
        export_run(root, run, work / MODEL_NAME)
    else:
        exported_facts(known)  # that it is one
        shutil.copyfile(known, work / MODEL_NAME)
    facts = exported_facts(work / MODEL_NAME)
    config = {"library": "pdfgc", "pdfgc_version": version("pdfgc"), **facts}
    (work / CONFIG_NAME).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    report = current(root, EVALUATION_REPORT, run)
    if report is not None:
        shutil.copyfile(local_copy(report.directory) / REPORT_PAGE, work / REPORT_PAGE)
    (work / CARD_NAME).write_text(write_model_card(root, run, facts, evaluated=report is not None), "utf-8")
    return report is not None


def write_model_card(root: UPath, run: str, facts: dict[str, Any], *, evaluated: bool) -> str:
    """The card in Markdown, with the table of figures of an evaluated run."""
    own = run == STARTER_NAME
    front = [
        "---",
        f"license: {'apache-2.0' if own else 'other'}",
        *([] if own else ["license_name: terms-of-the-training-videos"]),
        "library_name: pdfgc",
        "pipeline_tag: image-to-video",
        "tags:",
        "  - talking-head",
        "  - pd-fgc",
        "---",
    ]
    terms = TERMS if own else f"{TERMS} {UNKNOWN_TERMS}"
    parts = [
        "\n".join(front),
        f"# Talking head {facts['run']}",
        ABOUT.format(side_px=facts["side_px"]),
        f"## Use\n\n```python\n{LOAD}```\n\n{WHERE}",
        f"## Training\n\nNetworks in the losses: {find_judges(root, run, []).trained}.",
        _figures(root, run, evaluated=evaluated),
        f"## Terms\n\n{terms}",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _figures(root: UPath, run: str, *, evaluated: bool) -> str:
    if not evaluated:
        return f"## Figures\n\nNot evaluated: `pdfgc evaluate --run {run}`, then export it again."
    table = "\n".join(run_table(root, [run]))
    return f"## Figures\n\nSee `{REPORT_PAGE}` for all of them.\n\n```\n{table}\n```"
