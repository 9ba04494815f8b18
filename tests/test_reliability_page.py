"""Every promise in docs/reliability.md names a test that exists."""

import re

from tests.conftest import REPOSITORY

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_every_named_test_exists() -> None:
    named = NAMED.findall((REPOSITORY / "docs" / "reliability.md").read_text("utf-8"))
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (REPOSITORY / file).is_file() or f"def {name}(" not in (REPOSITORY / file).read_text("utf-8")
    ]
    assert missing == []
