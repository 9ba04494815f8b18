"""A copy of a package to which a test adds files and lines, as a contributor would."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY


class Checkout:
    """A copy of one package with additions; the other packages are the project's own."""

    def __init__(self, folder: Path, package: str) -> None:
        self.folder, self._package = folder, package
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignore)

    def add_file(self, path: str, text: str) -> None:
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)

    def add_line(self, path: str, before: str, line: str) -> None:
        """Insert one line before the only line that is `before`."""
        lines = (self.folder / path).read_text().splitlines(keepends=True)
        (place,) = (number for number, text in enumerate(lines) if text.strip() == before)
        lines.insert(place, line + "\n")
        (self.folder / path).write_text("".join(lines))

    def added_lines(self) -> dict[str, int]:
        """Existing file -> number of added lines."""
        added: dict[str, int] = {}
        for path in sorted((REPOSITORY / self._package).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            before, after = path.read_text().splitlines(), (self.folder / name).read_text().splitlines()
            if before != after:
                added[name] = len(after) - len(before)
        return added

    def run(self, code: str, *arguments: Path) -> Any:
        """The JSON value that a script prints."""
        paths = f"import sys; sys.path[:0] = [{str(self.folder)!r}, {str(REPOSITORY)!r}]\n"
        command = [sys.executable, "-c", paths + code, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)
