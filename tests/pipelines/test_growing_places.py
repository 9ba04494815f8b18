"""A new command: one new file, and one line in the list of commands."""

from pathlib import Path

from tests.factories.pipelines.checkout import Checkout

COMMAND = '''"""The command `pdfgc greet`."""

import click


@click.command()
@click.argument("name")
def greet(name: str) -> None:
    """Greet NAME."""
    if name == "nobody":
        raise ValueError("no such person: nobody")
    click.echo(f"Hello {name}")
'''

RUN = """
import json
from click.testing import CliRunner
from pipelines.cli.main import main

results = [CliRunner().invoke(main, words) for words in (["--help"], ["greet", "Ada"], ["greet", "nobody"])]
print(json.dumps([[result.exit_code, result.output] for result in results]))
"""


def test_command_is_one_file_and_one_line(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, "pipelines")
    checkout.add_file("pipelines/cli/operations/greet.py", COMMAND)
    entry = '    "greet": "operations",'
    checkout.add_line("pipelines/cli/main.py", before='"preprocess": "data",', line=entry)
    (_, help_text), greeting, error = checkout.run(RUN)
    assert "greet           Greet NAME." in help_text
    assert greeting == [0, "Hello Ada\n"]
    assert error == [1, "Error: no such person: nobody\n"]
    assert checkout.added_lines() == {"pipelines/cli/main.py": 1}
