import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.fingerprint import canonical_json, file_sha256, fingerprint


@dataclass(frozen=True)
class Range:
    lowest: float
    names: tuple[str, ...]


def test_canonical_json_sorts_keys_without_spaces() -> None:
    assert canonical_json({"b": [1, None, True], "a": {"d": "é", "c": 0.1}}) == (
        r'{"a":{"c":0.1,"d":"\u00e9"},"b":[1,null,true]}'
    )


def test_canonical_json_of_dataclasses_and_tuples() -> None:
    assert canonical_json((Range(1.0, ("x", "y")),)) == '[{"lowest":1.0,"names":["x","y"]}]'


@pytest.mark.parametrize("number", [0.1 + 0.2, 1e-300, -0.0, 5e-324])
def test_canonical_json_of_floats_round_trips(number: float) -> None:
    assert canonical_json(number) == repr(number)


def test_fingerprint_is_the_sha256_of_canonical_json() -> None:
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_fingerprint_ignores_key_order() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_fingerprint_refuses_floats_that_are_not_finite(number: float) -> None:
    with pytest.raises(ValueError, match=r"value\.scales\[1\] is (nan|-?inf)"):
        canonical_json({"scales": [1.0, number]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": {1, 2}}}, r"value\.a\.b is a set"),
        ([Path("x")], r"value\[0\] is a PosixPath"),
        ({"a": {3: "x"}}, r"value\.a has the key 3, a int"),
        ({"type": Range}, r"value\.type is a type"),
        (b"x", "value is a bytes"),
    ],
)
def test_fingerprint_refuses_values_without_json_form(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        canonical_json(value)


@pytest.mark.parametrize("as_given", [str, Path])
def test_file_sha256_hashes_the_bytes(tmp_path: Path, as_given: Callable[[Path], str | Path]) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert file_sha256(as_given(tmp_path / "file")) == hashlib.sha256(b"abc" * 100_000).hexdigest()
