"""Log records of the packages: on the terminal, and in the log of a Dagster run."""

import logging
import tomllib

import pytest
from dagster import DagsterInstance, OpExecutionContext, asset, job, materialize, op

from pipelines.logs import PACKAGES, log_to_terminal
from pipelines.operations.plain_logger import plain_console
from tests.conftest import REPOSITORY

logger = logging.getLogger("training.jobs.toy")


def test_packages_are_those_of_the_import_contracts() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert set(PACKAGES) == set(contracts["root_packages"])


def test_log_to_terminal_prints_records_and_restores_the_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_terminal():
        logger.info("Extending %s from step %d to %d", "stage2_lip", 10, 20)
        logger.warning("careful")
        logger.debug("hidden")
    logger.info("after")
    assert capsys.readouterr().err == "Extending stage2_lip from step 10 to 20\nWARNING: careful\n"
    assert not logging.getLogger("training").handlers


def test_terminal_has_no_control_characters_and_no_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_terminal():
        logger.info("%s of %s", "a\x1b[2J\rb.mp4", "https://user:PA55WORD@host")
    assert capsys.readouterr().err == "a\\x1b[2J\\rb.mp4 of https://***@host\n"


def test_plain_lines_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    @op
    def reads(context: OpExecutionContext) -> None:
        context.log.info("%s of %s", "a\x1b[2J\rb.mp4", "https://user:PA55WORD@host")

    @job(logger_defs={"plain": plain_console})
    def reading() -> None:
        reads()

    config = {"loggers": {"plain": {"config": {"log_level": "INFO"}}}}
    with DagsterInstance.ephemeral() as instance:
        reading.execute_in_process(config, instance=instance)
    assert "  reads: a\\x1b[2J\\rb.mp4 of https://***@host\n" in capsys.readouterr().out


def test_run_log_has_the_records_of_the_packages() -> None:
    @asset
    def talkative() -> None:
        logger.info("Extending %s", "stage2_lip")

    settings = {"python_logs": {"managed_python_loggers": list(PACKAGES), "python_log_level": "INFO"}}
    with DagsterInstance.ephemeral(settings=settings) as instance:
        result = materialize([talkative], instance=instance)
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "Extending stage2_lip" in messages
