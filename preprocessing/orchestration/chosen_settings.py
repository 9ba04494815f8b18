"""Which settings of preprocessing count: one file below the root, `operations/settings.json`, says so.

For a batch these settings count, each over the next:

1. what the batch was last built with on purpose (`keep_for_batch`),
2. what was adopted for all batches (`adopt`),
3. the deployment's settings.

The data set has a choice of its own: what it was last materialized with by hand; automatic runs use it.
Settings are stored by dotted name, for a batch only those that differ from what counts for all. Every run
looks them up, so a nightly run does not undo a reprocessing with other settings. A batch that is built with
a setting of all batches on purpose has no setting of its own there any more.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from upath import UPath

from preprocessing.orchestration.steps import PreprocessingSettings
from storage.fingerprint import JsonValue, to_json_value
from storage.integrity.faults import Fault
from storage.integrity.sealed_json import is_sealed, read_sealed, sealed
from storage.objects import read_bytes, write_bytes
from storage.root import scratch_directory
from storage.settings import Settings, SettingsError

SETTINGS_LOCATION: Final = "operations/settings.json"
SETTINGS_LOCK: Final = "settings.lock"
NAMES: Final = ("adopted", "batches", "dataset")
CHOOSE_AGAIN: Final = "restore it, or remove it and launch the job adopt_settings again"

SettingsT = TypeVar("SettingsT", bound=Settings)

Changes = Mapping[str, JsonValue]
"""Settings that differ from the deployment's, by dotted name."""


@dataclass(frozen=True)
class Choice:
    """Settings that somebody chose."""

    changes: Changes
    run: str  # Dagster's id of the run that chose them
    at: str  # time, ISO 8601
    note: str = ""


@dataclass(frozen=True)
class ChosenSettings:
    """The contents of the file."""

    adopted: Choice | None = None
    batches: Mapping[str, Choice] = field(default_factory=dict)
    dataset: Choice | None = None

    def changes_of(self, batch: str) -> Changes:
        """The settings of a batch that differ from the deployment's."""
        adopted = {} if self.adopted is None else self.adopted.changes
        own = self.batches.get(batch)
        return {**adopted, **({} if own is None else own.changes)}

    def of(
        self, batch: str, deployed: PreprocessingSettings, changes: Changes | None = None
    ) -> PreprocessingSettings:
        """The settings that count for a batch.

        Args:
            batch: its key.
            deployed: the deployment's settings.
            changes: of a single run; they count over all others.

        Raises:
            ValueError: the file names a setting that there is not, or a value out of its bounds.
        """
        try:
            return apply_changes(deployed, {**self.changes_of(batch), **(changes or {})})
        except SettingsError as error:
            raise ValueError(
                f"{SETTINGS_LOCATION} below the root: {error}; launch the job adopt_settings again"
            ) from error


def read_chosen(root: UPath) -> ChosenSettings:
    """The settings that were chosen; nothing where there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    path = root / SETTINGS_LOCATION
    try:
        stored = read_sealed(read_bytes(path).decode(), NAMES)
        adopted, dataset = (
            None if stored.get(name) is None else Choice(**stored[name]) for name in ("adopted", "dataset")
        )
        batches = {key: Choice(**choice) for key, choice in stored.get("batches", {}).items()}
        return ChosenSettings(adopted, batches, dataset)
    except FileNotFoundError:
        return ChosenSettings()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}; {CHOOSE_AGAIN}") from error


def check_chosen(root: UPath) -> list[Fault]:
    """A fault if the file is damaged."""
    try:
        chosen = read_chosen(root)
        text = read_bytes(root / SETTINGS_LOCATION).decode()
    except FileNotFoundError:
        return []
    except ValueError as error:
        return [Fault("record", SETTINGS_LOCATION, "chosen settings", str(error), CHOOSE_AGAIN)]
    if is_sealed(text) and text != _text(chosen):
        return [Fault("record", SETTINGS_LOCATION, "the text that was written", "other spaces", CHOOSE_AGAIN)]
    return []


def adopt(root: UPath, changes: Changes, run: str, note: str) -> ChosenSettings:
    """Let settings that differ from the deployment's count for all batches; none has its own any more."""
    with _changing(root):
        adopted = choice(changes, run, note) if changes else None
        chosen = ChosenSettings(adopted, dataset=read_chosen(root).dataset)
        _write(root, chosen)
    return chosen


def keep_for_batch(
    root: UPath, batch: str, changes: Changes, run: str, deployed: PreprocessingSettings
) -> None:
    """Let these settings count for one batch; those that count for all anyway are not its own any more."""
    with _changing(root):
        chosen = read_chosen(root)
        own = chosen.batches.get(batch)
        before = {} if own is None else dict(own.changes)
        usual = _flatten(to_json_value(chosen.of("", deployed)))
        after = {name: value for name, value in {**before, **changes}.items() if usual.get(name) != value}
        if after == before:
            return
        others = {key: known for key, known in chosen.batches.items() if key != batch}
        batches = {**others, batch: choice(after, run)} if after else others
        _write(root, replace(chosen, batches=batches))


def keep_for_dataset(root: UPath, changes: Changes, run: str) -> None:
    """Let these settings count for automatic runs of the data set; without changes the deployment's."""
    with _changing(root):
        chosen = read_chosen(root)
        if dict(changes) != ({} if chosen.dataset is None else dict(chosen.dataset.changes)):
            _write(root, replace(chosen, dataset=choice(changes, run) if changes else None))


def choice(changes: Changes, run: str, note: str = "") -> Choice:
    """A choice that is made now."""
    return Choice(dict(sorted(changes.items())), run, datetime.now(UTC).isoformat(timespec="seconds"), note)


def changes_between(before: Settings, after: Settings) -> dict[str, JsonValue]:
    """The settings of `after` that differ from those of `before`, by dotted name."""
    old, new = _flatten(to_json_value(before)), _flatten(to_json_value(after))
    return {name: value for name, value in sorted(new.items()) if name not in old or old[name] != value}


def apply_changes(settings: SettingsT, changes: Changes) -> SettingsT:
    """The settings with some changed.

    Raises:
        SettingsError: there is no such setting, or a value is out of its bounds.
    """
    if not changes:
        return settings
    values: Any = to_json_value(settings)
    for name, value in changes.items():
        put(values, name.split("."), value)
    return type(settings).model_validate(values)


def as_form(changes: Changes) -> dict[str, Any]:
    """The changes as the launchpad writes them: nested by section."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        put(values, name.split("."), value)
    return values


def put(values: dict[str, Any], path: Sequence[str], value: JsonValue) -> None:
    """Set a value in nested mappings."""
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _flatten(value: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    if not isinstance(value, dict) or not value:
        return {prefix.removesuffix("."): value}
    flat: dict[str, JsonValue] = {}
    for name, inner in value.items():
        flat |= _flatten(inner, f"{prefix}{name}.")
    return flat


def _write(root: UPath, chosen: ChosenSettings) -> None:
    write_bytes(root / SETTINGS_LOCATION, _text(chosen).encode())


def _text(chosen: ChosenSettings) -> str:
    return json.dumps(sealed(asdict(chosen)), indent=1, sort_keys=True)


@contextmanager
def _changing(root: UPath) -> Generator[None]:
    """One process of this machine at a time changes the file."""
    from filelock import FileLock

    folder = scratch_directory(root)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / SETTINGS_LOCK):
        yield
