"""Names of sources with control characters, and addresses with passwords."""

import pytest

from preprocessing.media.container import RefusedVideo
from preprocessing.sources.remote import source_path


def test_refusal_escapes_control_characters() -> None:
    refusal = RefusedVideo("unreadable", "a\x1b[2J\n.mp4 cannot be opened")
    assert refusal.detail == r"a\x1b[2J\n.mp4 cannot be opened"
    assert str(refusal) == r"unreadable: a\x1b[2J\n.mp4 cannot be opened"


@pytest.mark.parametrize("address", ["s3://user:PA55WORD@bucket/x", "https://user:PA55WORD@host/x"])
def test_source_with_a_password_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(ValueError, match=r"\*\*\*@") as caught:
        source_path(address)
    assert "PA55WORD" not in str(caught.value)
