import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_imports_keep_to_the_layers_of_the_design() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [linter, "--no-cache", "--no-logo"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
