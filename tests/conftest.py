"""Fixtures and settings of every test."""

import signal
from pathlib import Path

import pytest

# Before the import hooks, which would compile it anew without its bytecode.
import torch  # noqa: F401  # pyright: ignore[reportUnusedImport]
from beartype import BeartypeConf
from beartype.claw import beartype_packages
from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).parent.parent

# A shell that starts the tests in the background has SIGINT ignored in all processes below; those that
# tests start and interrupt must heed it as they would in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Annotations are checked at every call, in tests alone, and before any test module is imported. Where
# shapes are annotated jaxtyping holds them together across arguments; elsewhere beartype's own hook
# knows more (`Self`). Not in `pipelines`: Dagster and click read its functions' annotations themselves.
install_import_hook(["models", "training", "evaluation"], "beartype.beartype")
beartype_packages(
    ("preprocessing", "demo_corpus", "weights", "storage"), conf=BeartypeConf(claw_is_pep526=False)
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: many wait for other programs, and other tests run meanwhile."""
    slow = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "browser")))}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """The folder of real clips beside the repository; a test that asks for it is skipped without it."""
    folder = (REPOSITORY.parent / "shared" / "clips").resolve()
    if not (folder / "INDEX.tsv").is_file():
        pytest.skip("no real clips: ../shared/clips is not beside the repository")
    return folder
