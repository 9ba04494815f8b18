"""Texts for people."""

import pytest

from storage.printable import display_lines, display_text, printable, without_secrets
from storage.remote.bucket import endpoint_url, reason_of
from storage.root import open_root


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


def test_display_text_does_both() -> None:
    assert display_lines("a\x1b\n of https://u:p@host") == "a\\x1b\n of https://***@host"
    assert display_text("a\n of https://u:p@host") == r"a\n of https://***@host"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_endpoint_with_a_password_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "https://user:PA55WORD@store.example:9000")
    for use in (endpoint_url, lambda: open_root("s3://bucket/prefix")):
        with pytest.raises(
            ValueError, match=r"'https://\*\*\*@store.example:9000' must have no user"
        ) as caught:
            use()
        assert "PA55WORD" not in str(caught.value)


def test_root_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match=r"storage root 's3://\*\*\*@bucket/x' must have no user"):
        open_root("s3://key:PA55WORD@bucket/x")
    with pytest.raises(ValueError, match=r"storage root 'gs://\*\*\*@bucket/x'"):
        open_root("gs://key:PA55WORD@bucket/x")


def test_reason_of_an_obstore_error_shows_no_password() -> None:
    error = OSError(
        "sending to http://user:PA55WORD@host/bucket\x1b failed\nDebug source: http://user:PA55WORD@host"
    )
    assert reason_of(error) == r"sending to http://***@host/bucket\x1b failed"
