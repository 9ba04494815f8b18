"""The demo corpus: talking-head videos with known pose, gaze, blinks and mouth in every frame.

Importing this module loads no mediapipe, torch or onnxruntime; `make_corpus` needs them only in
its worker processes.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field

from demo_corpus.people import Person, Source, build_person, draw_person, write_people
from demo_corpus.portraits import BUNDLED
from preprocessing.faces.shape.mean_face import TABLE_PATH
from preprocessing.process_pool import Crashed, default_workers, map_in_processes
from storage.fingerprint import file_sha256, fingerprint
from storage.settings import Settings

CORPUS_VERSION: Final = 6  # of the rendering: raise it when the same settings give other videos

logger = logging.getLogger(__name__)


class CorpusSettings(Settings):
    """What the demo corpus holds. The same settings give the same bytes."""

    people: int = Field(
        default=12,
        ge=1,
        le=10_000,
        description="Number of people, each mixed from several photos; about every fifth is held out, "
        "of photos that no other split uses",
    )
    videos: int = Field(default=2, ge=1, description="Videos of each person")
    seed: int = Field(default=0, ge=0, description="Random seed")
    seconds_per_video: float = Field(default=8.0, ge=0.2, le=600, description="Length of each video")
    side_px: int = Field(
        default=384, ge=64, le=2048, multiple_of=2, description="Side of the square videos, even"
    )
    portraits: tuple[Path, ...] = Field(
        default=(), description="Portraits with one face each, in place of the bundled ones"
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="Worker processes; 0: none, None: one per CPU core. No effect on the videos",
    )


@dataclass(frozen=True)
class CorpusVideo:
    """One video of the corpus."""

    identity: str
    video: Path
    truth: Path


@dataclass(frozen=True)
class _PersonTask:
    """All videos of one person: they share the head."""

    folder: Path
    person: Person
    settings: CorpusSettings
    fingerprint: str

    def videos(self) -> list[CorpusVideo]:
        """The person's videos, whether they exist yet or not."""
        name = self.person.name
        stems = [self.folder / name / f"talk-{number}" for number in range(self.settings.videos)]
        return [CorpusVideo(name, Path(f"{stem}.mp4"), Path(f"{stem}.truth.parquet")) for stem in stems]


def make_corpus(folder: Path, settings: CorpusSettings) -> list[CorpusVideo]:
    """Write the corpus below `folder`; videos already there with the same settings are kept.

    Each video is `<identity>/<name>.mp4` (25 fps H.264, AAC) with `<name>.truth.parquet` beside it,
    written last: an interrupted run resumes at the first video without its table, and a corpus with more
    people or videos than before keeps those it has. `people.json` lists the people with their photos.

    Args:
        folder: created if missing.
        settings: what to render.

    Returns:
        Every video, sorted by path.

    Raises:
        ValueError: a portrait is not a readable picture, or shows no face or several; names the file.
        RuntimeError: a worker process died.
    """
    for portrait in settings.portraits:
        if not portrait.is_file():
            raise ValueError(f"portrait {portrait}: no such file")
    digest = settings_fingerprint(settings)
    photos = _photos(settings)
    people = [draw_person(settings.seed, number, photos) for number in range(settings.people)]
    table = settings.model_dump(include={"seed", "seconds_per_video", "side_px"})
    write_people(folder, table, people, settings.portraits)
    tasks = [_PersonTask(folder, person, settings, digest) for person in people]
    missing = [task for task in tasks if not all(is_complete(video, digest) for video in task.videos())]
    workers = default_workers() if settings.workers is None else settings.workers
    crashes: list[str] = []
    for number, (task, result) in enumerate(map_in_processes(_render_person, missing, workers), start=1):
        if isinstance(result, Crashed):
            crashes.append(f"{task.person.name} ({result.detail})")
        else:
            logger.info("Rendered person %d of %d: %d videos", number, len(missing), result)
    if crashes:
        raise RuntimeError(f"the process that rendered a person died: {', '.join(crashes)}")
    return sorted((video for task in tasks for video in task.videos()), key=lambda video: video.video)


def settings_fingerprint(settings: CorpusSettings) -> str:
    """sha256 of what decides a video's bytes: settings, portraits' contents, rendering version.

    Not the numbers of people and videos: each is the same in a larger corpus.
    """
    return fingerprint(
        {
            "version": CORPUS_VERSION,
            "mean_face": file_sha256(TABLE_PATH),
            "seed": settings.seed,
            "seconds_per_video": float(settings.seconds_per_video),
            "side_px": settings.side_px,
            "portraits": [file_sha256(portrait) for portrait in settings.portraits],
        }
    )


def is_complete(video: CorpusVideo, digest: str) -> bool:
    """Whether the video and its table exist, rendered with the settings of this fingerprint."""
    import pyarrow.parquet as pq

    from demo_corpus.truth import FINGERPRINT_KEY

    if not (video.video.is_file() and video.truth.is_file()):
        return False
    metadata = pq.read_schema(video.truth).metadata or {}
    return metadata.get(FINGERPRINT_KEY) == digest.encode()


def _photos(settings: CorpusSettings) -> Sequence[Source]:
    return settings.portraits or BUNDLED


def _render_person(task: _PersonTask) -> int:
    """Render one person's missing videos; returns their number."""
    from demo_corpus.scene import render_video
    from demo_corpus.speech import draw_voice

    settings, person = task.settings, task.person
    rig = build_person(person, _photos(settings))
    voice = draw_voice(np.random.default_rng(person.part_seed(1)))
    rendered = 0
    for number, video in enumerate(task.videos()):
        if is_complete(video, task.fingerprint):
            continue
        video.truth.unlink(missing_ok=True)
        video.video.parent.mkdir(parents=True, exist_ok=True)
        render_video(
            video.video,
            video.truth,
            rig,
            voice,
            seed=person.part_seed(2 + number),
            seconds=settings.seconds_per_video,
            side_px=settings.side_px,
            fingerprint=task.fingerprint,
        )
        rendered += 1
    return rendered
