"""Publish the videos of an evaluation: drawn from the data set, rendered by a trained run.

Importing this module does not import torch.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image
from upath import UPath

from evaluation.animation.checkpoint_abilities import exported_facts, exported_file
from evaluation.config import EvaluationConfig, SplitChoice
from evaluation.generation.files import (
    CONTACT_SHEET,
    FACTS_NAME,
    GENERATED_VIDEOS,
    PLAN_NAME,
    ClipFacts,
    GeneratedVideos,
    VideoFacts,
    clip_path,
    portrait_path,
    video_path,
)
from evaluation.generation.reenactment import (
    Reenactment,
    ReenactmentPlan,
    VideoCounts,
    draw_plan,
    read_plan,
    require_clips,
    write_plan,
)
from evaluation.records import Task
from preprocessing.media.encoding import EncodeSettings, write_video
from preprocessing.schema import FRAMES_PER_SECOND
from storage.fingerprint import file_sha256, fingerprint, to_json_value
from storage.manifest import Input
from storage.publishing import (
    BuildReport,
    Published,
    Recipe,
    current,
    materialise,
    published_partitions,
    require_current,
)
from storage.root import local_copy
from training.data.index import ClipIndex, NoSamplesError, Split, open_current
from training.engine.weights_digest import weights_digest
from training.stage_catalog import RENDERING_STAGE
from weights.resolve import resolve_config

logger = logging.getLogger(__name__)

CODE_VERSION: Final = "2"
TASKS: Final[tuple[Task, ...]] = ("self", "cross", "control")
NEAR_LOSSLESS: Final = EncodeSettings(constant_rate_factor=4)
"""So that metrics do not measure the codec; H.264 in yuv420p still halves the resolution of colours."""
AUTO_SPLITS: Final[tuple[Split, ...]] = ("test", "validation", "held_out_clips", "train")
FRAMES_AT_ONCE: Final = 16  # as `animate`


def run_generated_videos(root: UPath, config: EvaluationConfig, *, force: bool = False) -> Published:
    """Publish the videos of a run unless they are up to date; an interrupted build resumes at the next video.

    Files: `evaluation.generation.files`.

    Raises:
        FileNotFoundError: the plan file, or weights that a setting names, do not exist.
        ValueError: there is no data set, the run is not trained, the split has no clips, the plan is of
            another data set, or weights that a setting names may not be used.
    """
    inputs = run_inputs(root, config.run)  # first: a run that does not exist is the likeliest mistake
    index, plan = open_or_draw_plan(root, config)
    for note in plan.notes:
        logger.warning(note)
    recipe = Recipe(
        asset=GENERATED_VIDEOS,
        partition=config.run,
        code_version=CODE_VERSION,
        settings={
            "plan": plan.name,
            "plan_sha256": fingerprint(asdict(plan)),
            "encoding": to_json_value(NEAR_LOSSLESS, "encoding"),
        },
        inputs=inputs,
    )

    def build(work: Path) -> BuildReport:
        resolve_config(config)  # fail before videos are generated
        return _generate(root, config, index, plan, work)

    return materialise(root, recipe, build, force=force)


def open_or_draw_plan(root: UPath, config: EvaluationConfig) -> tuple[ClipIndex, ReenactmentPlan]:
    """The clips of the split and the plan: drawn, or read from the plan file.

    Raises:
        FileNotFoundError: the plan file does not exist.
        ValueError: as `run_generated_videos`.
    """
    dataset = current(root, "dataset", "whole")
    if dataset is None:
        raise ValueError(f"no data set is published under {root}: materialise `dataset` first")
    digest = dataset.manifest.content_digest
    if config.plan_file:
        plan = read_plan(Path(config.plan_file).expanduser())
        index = open_current(root, plan.split)
        keys = [index.key(clip) for clip in range(len(index))]
        require_clips(plan, keys, f"the data set's split {plan.split}")
        return index, plan
    index = open_split(root, config.split)
    counts = VideoCounts(config.self_videos, config.cross_videos, config.control_bases, config.frames)
    return index, draw_plan(index, digest, config.seed, index.split, counts)


def open_split(root: UPath, choice: SplitChoice) -> ClipIndex:
    """The clips of a split; for "auto" of the first that has two, so that one can drive another.

    A split with one clip comes before the training clips.

    Raises:
        ValueError: there are no clips.
    """
    errors: list[NoSamplesError] = []
    single: ClipIndex | None = None
    splits: tuple[Split, ...] = AUTO_SPLITS if choice == "auto" else (choice,)
    for split in splits:
        if single is not None and split == "train":
            break
        try:
            index = open_current(root, split)
        except NoSamplesError as error:
            errors.append(error)
            continue
        if len(index) > 1:
            return index
        single = single or index
    if single is not None:
        return single
    raise ValueError(
        f"no clips to evaluate: {errors[0]}. Choose another split, or add people: splits are by person"
    ) from errors[0]


def run_inputs(root: UPath, run: str) -> dict[str, Input]:
    """Data set and weights of a run's or of the starter model's talking head, as inputs of a recipe.

    Raises:
        FileNotFoundError: the starter model is not installed.
        ValueError: the run has not trained its last stage, or a stage on which it builds is gone.
    """
    from training.jobs.job import TrainingJob
    from training.jobs.recipe import stage_inputs
    from training.jobs.stage_run import JOB_NAME

    exported = exported_file(run)
    if exported is not None:
        exported_facts(exported)  # it exists and is what it should be
        dataset = require_current(root, "dataset", "whole")
        return {"dataset": dataset.as_input(), RENDERING_STAGE: Input(file_sha256(exported))}
    published = current(root, RENDERING_STAGE, run)
    if published is None:
        known = published_partitions(root, RENDERING_STAGE)
        runs = ", ".join(known) or "none"
        raise ValueError(
            f"run {run!r} has not trained {RENDERING_STAGE} under {root}; runs that have: {runs}"
        )
    config = TrainingJob.read(local_copy(published.directory) / JOB_NAME).config
    inputs = stage_inputs(root, RENDERING_STAGE, config)
    used = {name: value for name, value in inputs.items() if name != "perception"}  # only training used it
    return used | {RENDERING_STAGE: published.as_input(weights_digest(published))}


@dataclass(frozen=True)
class _Renderer:
    """What every video needs."""

    head: Any  # TalkingHead; its module imports torch
    reader: Any  # ClipReader
    folder: Path


def _generate(
    root: UPath, config: EvaluationConfig, index: ClipIndex, plan: ReenactmentPlan, work: Path
) -> BuildReport:
    from evaluation.animation.loading import load_talking_head
    from evaluation.animation.sheets import draw_reenactment_sheets

    generated = render_videos(load_talking_head(config.run, root, config.device), index, plan, work)
    (work / CONTACT_SHEET).write_bytes(draw_reenactment_sheets(generated))
    frames = sum(reenactment.frames for reenactment in plan.reenactments)
    tasks = {f"{task}_videos": len(plan.of_task(task)) for task in TASKS}
    counts = {"videos": len(plan.reenactments), **tasks, "clips": len(generated.facts.clips)}
    return BuildReport(counts={**counts, "frames": frames}, refusals={})


def render_videos(talking_head: Any, index: ClipIndex, plan: ReenactmentPlan, work: Path) -> GeneratedVideos:
    """Render the videos of a plan that are not there yet, and write what the evaluations read.

    Args:
        talking_head: `TalkingHead`, whose module imports torch.
        index: with the clips of the plan.
        plan: the videos.
        work: folder that is filled.
    """
    from evaluation.generation.cached_head import CachedTalkingHead
    from evaluation.generation.driving_clips import ClipReader

    for name in ("videos", "clips", "portraits"):
        (work / name).mkdir(exist_ok=True)
    head = CachedTalkingHead(talking_head)
    renderer = _Renderer(head, ClipReader(index), work)
    count = len(plan.reenactments)
    logger.info("Rendering %d videos of %d clips by %s", count, len(plan.clips()), head.name)
    clips = {key: _write_clip(renderer, key) for key in plan.clips()}
    for done, reenactment in enumerate(plan.reenactments, start=1):
        if not video_path(work, reenactment.name).is_file():
            _write_video(renderer, reenactment)
            logger.info(
                "Rendered %s, %d frames (%d of %d)", reenactment.name, reenactment.frames, done, count
            )
    facts = VideoFacts(head.name, head.side_px, clips)
    facts.write(work / FACTS_NAME)
    write_plan(work / PLAN_NAME, plan)
    return GeneratedVideos(work, plan, facts)


def _write_clip(renderer: _Renderer, key: str) -> ClipFacts:
    clip = renderer.reader.read(key)
    frames = len(clip.frames_jpeg)
    path = clip_path(renderer.folder, key)
    if not path.is_file():
        write_video(path, clip.crops(frames), FRAMES_PER_SECOND, clip.sound, settings=NEAR_LOSSLESS)
    source = clip.source
    return ClipFacts(
        clip.identity,
        source.video_id,
        source.relative_path,
        source.first_frame,
        frames,
        dict(clip.annotations),
    )


def _write_video(renderer: _Renderer, reenactment: Reenactment) -> None:
    from evaluation.animation.rendering import FACE_CONTROLS, AnimationInputs, render_frames
    from evaluation.animation.request import Strengths

    clips = {key: renderer.reader.read(key) for key in reenactment.clips()}
    *_, portrait = clips[reenactment.portrait].crops(reenactment.portrait_frame + 1)
    Image.fromarray(portrait).save(portrait_path(renderer.folder, reenactment.name))
    speaker = clips[reenactment.drivers["lip"]]
    faces = {control: clips[reenactment.drivers[control]] for control in FACE_CONTROLS}
    inputs = AnimationInputs(portrait, speaker.sound, faces, reenactment.frames, speaker.video_sound)
    pictures = render_frames(renderer.head, inputs, Strengths(), FRAMES_AT_ONCE)
    path = video_path(renderer.folder, reenactment.name)
    sound = speaker.sound_of(reenactment.frames)
    write_video(path, pictures, FRAMES_PER_SECOND, sound, settings=NEAR_LOSSLESS)
