"""The command `pdfgc repair`."""

import click

from pipelines.cli.data.preprocess import VideoFolder, workers_option
from pipelines.cli.operations.verify import FAULTS, Share
from pipelines.operations.maintenance.verify_settings import VerifySettings
from pipelines.options import options_from
from preprocessing.sources.remote import SourcePath


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option(
    "--read-data",
    type=Share(),
    default="100%",
    help="Share of the files to read before planning.  [default: 100%]",
)
@click.option("--no-read", is_flag=True, help="Do not read files: mend what is seen by name and size alone.")
@click.option(
    "--videos",
    "folders",
    type=VideoFolder(),
    multiple=True,
    help="Folder of videos (repeatable), for a catalog that is lost. [default: PDFGC_VIDEOS]",
)
@workers_option
@options_from(VerifySettings, "settings")
def repair(
    dry_run: bool,
    read_data: float,
    no_read: bool,
    folders: tuple[SourcePath, ...],
    workers: int,
    settings: VerifySettings,
) -> None:
    """Set aside what is damaged and build it again.

    Damaged builds are moved to ROOT/quarantine, never deleted. What was made from them is marked suspect.
    Both are built again, from inputs that are verified, with the settings they had. The catalog is restored
    from its backup, or from what is published and a scan; published batches keep their names. Trainings and
    evaluations are not started: the commands are printed.

    It may be killed at any point and run again. Exit status: 0 all is in order, 1 something is left.
    """
    from pipelines.console import use_one_thread

    use_one_thread()
    from pipelines.deployed_settings import deployed
    from pipelines.logs import log_to_terminal
    from pipelines.operations.maintenance.repair import RepairSettings, carry_out, examine, plan_repair
    from pipelines.operations.maintenance.verify import verify_root
    from pipelines.resources import SourcesResource
    from preprocessing.dataset.joining import DatasetSettings
    from preprocessing.orchestration.steps import PreprocessingSettings
    from preprocessing.sources.stored_catalog import SourceSettings
    from storage.integrity.reading import Night
    from storage.root import open_root

    root = open_root()
    repair_settings = RepairSettings(
        deployed(PreprocessingSettings),
        deployed(DatasetSettings),
        deployed(SourceSettings),
        folders or tuple(SourcesResource().all_folders()),
        workers or None,
    )
    found = examine(root, None if no_read else Night.of(read_data), settings.threads)
    plan = plan_repair(root, found, repair_settings)
    for line in plan.lines():
        click.echo(line)
    if dry_run or not found.faults:
        click.echo("nothing was changed" if found.faults else "nothing to repair")
        raise click.exceptions.Exit(FAULTS if found.faults else 0)
    with log_to_terminal():
        failed = carry_out(root, plan, repair_settings)
    left = verify_root(root).faults
    for line in (*failed, *(fault.line() for fault in left)):
        click.echo(f"left: {line}")
    click.echo(f"repaired: {len(found.faults)} faults found, {len(left)} left")
    if left or failed:
        raise click.exceptions.Exit(FAULTS)
