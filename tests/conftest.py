"""Fixtures and settings of every test."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).parent.parent
CHECKED_PACKAGES = ["preprocessing", "storage", "models", "training", "evaluation"]

# Annotated types and shapes are checked at every call, in tests alone. Not in `pipelines`: Dagster
# and click look at its functions' annotations themselves. Before any test module is imported.
install_import_hook(CHECKED_PACKAGES, "beartype.beartype")


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """The folder of real clips beside the repository; a test that asks for it is skipped without it."""
    folder = (REPOSITORY.parent / "shared" / "clips").resolve()
    if not (folder / "INDEX.tsv").is_file():
        pytest.skip("no real clips: ../shared/clips is not beside the repository")
    return folder
