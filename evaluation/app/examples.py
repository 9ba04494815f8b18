"""Three examples for the page: rendered heads, so no real person's face, rendered when first asked for."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from demo_corpus.corpus import CorpusSettings, make_corpus
from storage.atomic import make_temporary_folder

CORPUS: Final = CorpusSettings(people=3, videos=1, seconds_per_video=3.0, side_px=256, workers=0)
PORTRAIT: Final = "portrait.png"
SPEECH: Final = "speech.mp4"
POSE: Final = "head-pose.mp4"
FILES: Final = (PORTRAIT, SPEECH, POSE)


@dataclass(frozen=True)
class Example:
    """Files by role of the form."""

    title: str
    files: Mapping[str, str]


EXAMPLES: Final = (
    Example("Speech", {"appearance": PORTRAIT, "lip": SPEECH}),
    Example("Speech and head", {"appearance": PORTRAIT, "lip": SPEECH, "pose": POSE}),
    Example(
        "Everything",
        {"appearance": PORTRAIT, "lip": SPEECH, "pose": POSE, "eye": SPEECH, "expression": POSE},
    ),
)


class ExampleFiles:
    """The files of all examples in a temporary folder; thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._folder = make_temporary_folder("examples")

    def path(self, name: str) -> Path | None:
        """A file of `FILES`; the first call renders all of them, which takes some seconds.

        None if there is no such file.
        """
        if name not in FILES:
            return None
        with self._lock:
            if not (self._folder / PORTRAIT).is_file():
                self._render()
        return self._folder / name

    def close(self) -> None:
        """Remove the files."""
        with self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _render(self) -> None:
        from PIL import Image

        from evaluation.animation.media import read_pictures

        shown, speaker, mover = (video.video for video in make_corpus(self._folder / "corpus", CORPUS))
        shutil.copyfile(speaker, self._folder / SPEECH)
        shutil.copyfile(mover, self._folder / POSE)
        first = next(read_pictures(shown)).image
        Image.fromarray(first).save(self._folder / PORTRAIT)  # last: it marks the others as complete
