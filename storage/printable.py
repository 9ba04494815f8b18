"""Texts for people: names of files without control characters, addresses without secrets."""

import re
import unicodedata
from typing import Final

HIDDEN: Final = "***"
USER_IN_ADDRESS: Final = re.compile(r"(?<=://)[^\s/?#'\"]*@")
"""User and password of an address, up to the last @ before its path."""
_ESCAPED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line separators
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: object) -> str:
    r"""A text on one line, safe for a terminal, a log and a table: control characters are escaped.

    ``"a\x1b[2J\n"`` becomes ``r"a\x1b[2J\n"``. Escapes C0 and C1 controls, line separators, lone surrogates
    (bytes of a file name that are not UTF-8) and characters that change the direction of writing.
    """
    value = str(text)
    if value.isascii() and value.isprintable():
        return value
    return "".join(_escape(letter) if _is_control(letter) else letter for letter in value)


def without_secrets(text: object) -> str:
    """A text in which user and password of each address are replaced: ``https://***@host/path``."""
    return USER_IN_ADDRESS.sub(f"{HIDDEN}@", str(text))


def display_text(text: object) -> str:
    """What is printed, logged or shown of a message: `printable`, and `without_secrets`."""
    return without_secrets(printable(text))


def display_lines(text: object) -> str:
    """`display_text` of each line of a text, such as an error with its trace."""
    return "\n".join(map(display_text, str(text).split("\n")))


def _is_control(letter: str) -> bool:
    return letter in _DIRECTIONS or unicodedata.category(letter) in _ESCAPED


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
