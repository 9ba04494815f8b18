"""Texts for people."""

import pytest

from storage.printable import printable, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("face.mp4", "face.mp4"),
        ("Müller 日本 👩‍👩‍👧.mp4", "Müller 日本 👩‍👩‍👧.mp4"),
        ("a\x1b[2J\r\n\t\x00b", r"a\x1b[2J\r\n\t\x00b"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("two\u2028lines", r"two\u2028lines"),
        (b"\xff.mp4".decode("utf-8", "surrogateescape"), r"\udcff.mp4"),
    ],
)
def test_printable_escapes_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(printable(text)) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/path?a@b", "https://host/path?a@b"),
        ("https://user:secret@host:9000/path", "https://***@host:9000/path"),
        ("cannot open s3://key:se@cret@bucket/a: no", "cannot open s3://***@bucket/a: no"),
        ("'http://token@a' and http://u:p@b", "'http://***@a' and http://***@b"),
        ("mail to a@b, http://host", "mail to a@b, http://host"),
    ],
)
def test_without_secrets_hides_user_and_password(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
