"""The command line `pdfgc`."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Final

import click
from typing_extensions import override

from storage.printable import display_text

COMMANDS: Final = {
    "ablation": "training",
    "animate": "evaluation",
    "app": "evaluation",
    "baseline": "evaluation",
    "compare": "evaluation",
    "corpus": "data",
    "demo": "operations",
    "dev": "operations",
    "doctor": "operations",
    "evaluate": "evaluation",
    "export": "training",
    "export-dataset": "data",
    "gc": "operations",
    "preprocess": "data",
    "referee": "evaluation",
    "refused": "data",
    "repair": "operations",
    "runs": "training",
    "score": "evaluation",
    "settings": "operations",
    "sources": "data",
    "status": "operations",
    "train": "training",
    "verify": "operations",
    "weights": "operations",
}
"""Folder of each command: `<folder>/<command>.py`, dashes as underscores, holds a click command of that name,
imported when used."""

INTERRUPTED: Final = 130  # the exit status of a shell's command that Ctrl-C ends


class CommandGroup(click.Group):
    """The commands of `COMMANDS`; their expected errors become one line."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = getattr(import_module(f"pipelines.cli.{COMMANDS[cmd_name]}.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their first sentence, read from their files: importing them takes long."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        commands = [click.Command(name, help=_docstring(name)) for name in COMMANDS]
        rows = [(str(command.name), command.get_short_help_str(limit)) for command in commands]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            if message := display_text(str(interrupt)):
                click.echo(message, err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (BrokenPipeError, click.exceptions.Exit, click.Abort):
            raise  # click handles them; two are RuntimeErrors
        except (ValueError, OSError, RuntimeError) as error:
            if ctx.params["traceback"]:
                raise
            raise click.ClickException(one_line(error)) from error


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="All output goes to PDFGC_ROOT (default ./pdfgc-root). Start with: pdfgc demo",
)
@click.version_option(package_name="pdfgc", prog_name="pdfgc")
@click.option("--traceback", is_flag=True, help="Show the Python traceback of an error.")
def main(traceback: bool) -> None:
    """Train and evaluate controllable talking heads from raw videos.

    Dagster's UI (pdfgc dev) runs the same jobs.
    """
    del traceback  # read by CommandGroup.invoke


def _docstring(command: str) -> str:
    """The docstring of a command's function."""
    module = command.replace("-", "_")
    source = Path(__file__).with_name(COMMANDS[command]) / f"{module}.py"
    functions = ast.walk(ast.parse(source.read_text("utf-8")))
    return next(
        ast.get_docstring(node) or ""
        for node in functions
        if isinstance(node, ast.FunctionDef) and node.name == module
    )


def one_line(error: Exception) -> str:
    """The message of an error on one line, without control characters and secrets."""
    message = str(error) or type(error).__name__
    lines = (line.strip() for line in message.split("\n"))
    return " ".join(display_text(line) for line in lines if line)


if __name__ == "__main__":
    main()
