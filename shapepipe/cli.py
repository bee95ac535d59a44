"""The command line: `shapepipe_run -c FILE` and `shapepipe VERB`."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

import shapepipe
from shapepipe.errors import ConfigurationError, RunRefused, ShapePipeError
from shapepipe.pipeline import show
from shapepipe.pipeline.clean import clean as clean_run
from shapepipe.pipeline.config import load_config, mode_of
from shapepipe.pipeline.launcher import is_one_too_many
from shapepipe.pipeline.options import parse_duration
from shapepipe.pipeline.records import RunDirectory
from shapepipe.pipeline.report import report as show_report
from shapepipe.pipeline.run import INTERRUPTED, TO_CONTINUE, execute, load_mpi, prepare
from shapepipe.pipeline.runner import find_runner, list_runners
from shapepipe.pipeline.shards import parse_part
from shapepipe.pipeline.slurm import requeue
from shapepipe.pipeline.submit import SYSTEMS, queued
from shapepipe.pipeline.submit import submit as submit_run
from shapepipe.starter.verbs import STARTER_VERBS, complete_runner

CONFIG = click.option(
    "-c", "--config", type=click.Path(), default="config.ini", show_default=True, help="INI file."
)
OVERRIDE = click.option(
    "-o",
    "--option",
    "overrides",
    multiple=True,
    metavar="SECTION:KEY=VALUE",
    help="Override a value.",
)
ONLY = click.option("-e", "--only", multiple=True, metavar="NUMBER", help="Process this unit only.")
CHANGE = click.option(
    "--allow-change", is_flag=True, help="Continue a run although options, code or steps changed."
)


def turn_options(command):
    """Add the options that say what of a run this process does, and for how long."""
    options = (
        click.option("--shard", metavar="I/N", help="Do shard I of N of the units."),
        click.option("--stage", type=int, help="Do the steps of this stage only."),
        click.option("--submission", default="", help="Batch submission this belongs to."),
        click.option("--stop-after", metavar="TIME", help="Begin no unit after seconds or H:M:S."),
    )

    @functools.wraps(command)
    def with_turn(*, shard, stage, submission, stop_after, **others):
        cut = shard is not None or stage is not None
        try:
            seconds = parse_duration(stop_after)
        except ValueError as error:
            raise ConfigurationError(f"--stop-after: {error}") from error
        part = parse_part(shard, stage or 0, submission) if cut else None
        return command(turn=(part, seconds), **others)

    for option in reversed(options):
        with_turn = option(with_turn)
    return with_turn


def run_command() -> None:
    """Entry point of `shapepipe_run`."""
    _guarded(shapepipe_run)


def main() -> None:
    """Entry point of `shapepipe`."""
    _guarded(verbs)


def _guarded(command) -> None:
    """Run a command; errors become one line each and an exit status."""
    try:
        status = command.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except ShapePipeError as error:
        for line in str(error).splitlines():
            _complain(line)
        status = error.exit_status
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        status = INTERRUPTED
    except OSError as error:
        _complain(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
        status = 1
    sys.stdout.flush()
    sys.exit(status if isinstance(status, int) else 0)


def _complain(line: str) -> None:
    console = Console(stderr=True, highlight=False, emoji=False)
    console.print(f"[red]error[/red] {escape(line)}", soft_wrap=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@CONFIG
@OVERRIDE
@ONLY
@click.option("--resume", is_flag=True, help="Continue the last run of this name.")
@CHANGE
@turn_options
@click.option(
    "-l", "--list_modules", "list_modules", is_flag=True, help="List the runners and exit."
)
@click.version_option(shapepipe.__version__, "-v", "--version")
def shapepipe_run(config, overrides, only, resume, allow_change, turn, list_modules):
    """Run the chain of modules in an INI file.

    \b
    shapepipe_run -c config.ini
    shapepipe_run -c config.ini -e 2366993-18        one unit only
    shapepipe_run -c config.ini -o JOB:SMP_BATCH_SIZE=8
    shapepipe_run -c config.ini --resume             go on with the last run
    shapepipe_run -c config.ini --shard 3/8          an eighth of the units
    mpiexec -n 16 shapepipe_run -c config.ini        with MODE = mpi

    Exit status: 0 all well, 1 some unit failed, 2 wrong configuration, 75 out of time (to be
    continued), 130 interrupted.
    """
    if list_modules:
        for name in list_runners():
            click.echo(name)
        return 0
    return _run(config, overrides, only, resume, allow_change, turn)


def _run(config, overrides, only, continue_run, allow_change, turn) -> int:
    """Run or continue, as one of the ranks of an MPI world if that is the mode."""
    part, stop_after = turn
    mode = mode_of(config, overrides)
    if mode != "mpi":
        if not (part or only) and is_one_too_many(mode, os.environ):
            return 0
        plan = prepare(config, overrides, only, continue_run, part)
        return _execute(plan, overrides, allow_change, stop_after)
    mpi = load_mpi()
    try:
        if mpi.rank() > 0:
            mpi.serve()
            return 0
        plan = prepare(config, overrides, only, continue_run, part)
        status = _execute(plan, overrides, allow_change, stop_after)
    except BaseException as error:  # the other ranks must not wait for ever
        if mpi.rank() == 0 and isinstance(error, (ShapePipeError, OSError)):
            mpi.dismiss()
            raise
        sys.excepthook(*sys.exc_info())
        mpi.abort(1)
        raise
    mpi.part(status)
    return status


def _execute(plan, overrides, allow_change, stop_after) -> int:
    result = execute(
        plan,
        command=sys.argv,
        allow_change=allow_change,
        overrides=overrides,
        stop_after=stop_after,
    )
    if result.exit_status == TO_CONTINUE and plan.part and plan.part.submission:
        requeue(os.environ)
    return result.exit_status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(shapepipe.__version__, "-v", "--version")
def verbs():
    """ShapePipe: process survey images with chains of modules.

    \b
    shapepipe init FOLDER              begin: a configuration for your images
    shapepipe check -c config.ini      is the configuration right?
    shapepipe plan -c config.ini       what would run, and why?
    shapepipe submit -c config.ini --on slurm   the same as an array of batch jobs
    shapepipe status RUN               how far is it?
    shapepipe resume RUN               go on where it stopped
    shapepipe clean RUN                what has served and could be removed?
    """


@verbs.command()
@CONFIG
@OVERRIDE
@ONLY
@click.option("--resume", is_flag=True, help="Continue the last run of this name.")
@CHANGE
@turn_options
def run(config, overrides, only, resume, allow_change, turn):
    """Run the chain of modules in an INI file.

    \b
    shapepipe run -c config.ini
    shapepipe run -c config.ini -e 2366993-18        one unit only
    shapepipe run -c config.ini -o JOB:SMP_BATCH_SIZE=8
    """
    return _run(config, overrides, only, resume, allow_change, turn)


for verb in STARTER_VERBS:
    verbs.add_command(verb)


@verbs.command()
@CONFIG
@OVERRIDE
@click.option(
    "--show", "show_values", is_flag=True, help="Show every option, its value and its origin."
)
def check(config, overrides, show_values):
    """Check a configuration without looking at any image.

    \b
    shapepipe check -c config.ini
    shapepipe check -c config.ini --show      every value, and where it was written
    """
    loaded = load_config(config, overrides)
    if show_values:
        show.values(loaded)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"{config}: {len(loaded.steps)} steps, no complaints")
    return 0


@verbs.command()
@CONFIG
@OVERRIDE
@ONLY
@click.option("--resume", is_flag=True, help="Plan the continuation of the last run of this name.")
@click.option("--units", is_flag=True, help="List every unit, not only numbers of units.")
def plan(config, overrides, only, resume, units):
    """Show what would run, what is done already, and why; nothing is created.

    \b
    shapepipe plan -c config.ini
    shapepipe plan -c config.ini --units      every unit by name
    """
    show.plan(prepare(config, overrides, only, resume), units)
    return 0


@verbs.command()
@click.argument("run_directory", type=click.Path(exists=True, file_okay=False))
@OVERRIDE
@ONLY
@CHANGE
@turn_options
@click.option(
    "-c", "--config", help="INI file to use instead of the one that the run was started with."
)
def resume(run_directory, overrides, only, allow_change, turn, config):
    """Continue a run where it stopped.

    \b
    shapepipe resume output/run_2026-01-31_12-00-00
    shapepipe resume output/run_2026-01-31_12-00-00 -e 2366993-18
    """
    directory, last, config = _as_started(run_directory, config)
    overrides, only = [*last["overrides"], *overrides], only or last["only"]
    return _run(config, overrides, only, directory.path, allow_change, turn)


def _as_started(run_directory, config) -> tuple[RunDirectory, dict, str]:
    """A run, how it was last started, and its INI file; go where that was."""
    directory = RunDirectory(Path(run_directory).absolute())
    last = directory.read_run()["launches"][-1]
    os.environ.update({k: v for k, v in last["environment"].items() if k not in os.environ})
    if config is None:
        os.chdir(last["directory"])
        config = last["config"]
        if not Path(config).is_file():
            raise ConfigurationError(
                f"the INI file {config} is gone; give one with -c (a copy is in logs/)"
            )
    return directory, last, config


@verbs.command()
@click.argument("run_directory", type=click.Path(exists=True, file_okay=False))
@OVERRIDE
@click.option("--keep", type=click.Choice(["products", "final"]), help="Instead of KEEP.")
@click.option("--orphans", is_flag=True, help="Remove products of units that left the chain, too.")
@click.option("--even-if-read", is_flag=True, help="Remove what another run has read, too.")
@click.option("--yes", is_flag=True, help="Remove; otherwise nothing is changed.")
@click.option(
    "-c", "--config", help="INI file to use instead of the one that the run was started with."
)
def clean(run_directory, overrides, keep, orphans, even_if_read, yes, config):
    """Show what of a run has served and could be removed, and remove it if told so.

    \b
    shapepipe clean output/run_1                      what would go, by step, and why
    shapepipe clean output/run_1 --keep final         the same with another KEEP
    shapepipe clean output/run_1 --keep final --yes   remove it

    What a unit that is not done still needs stays, and so do records and logs.
    """
    directory, last, config = _as_started(run_directory, config)
    overrides = [*last["overrides"], *overrides]
    overrides += [f"EXECUTION:KEEP={keep}"] if keep else []
    clean_run(directory.path, config, overrides, orphans=orphans, even_if_read=even_if_read,
              now=yes)  # fmt: skip
    return 0


@verbs.command()
@CONFIG
@OVERRIDE
@ONLY
@click.option("--resume", is_flag=True, help="Submit what is left of the last run of this name.")
@CHANGE
@click.option("--on", "system", type=click.Choice(list(SYSTEMS)), required=True)
@click.option("--shards", type=click.IntRange(1), help="Instead of [BATCH] SHARDS.")
@click.option("--dry-run", is_flag=True, help="Show the scripts only; nothing is created.")
def submit(config, overrides, only, resume, allow_change, system, shards, dry_run):
    """Hand a run over to a batch system, as arrays of jobs that share its units.

    \b
    shapepipe submit -c config.ini --on slurm --dry-run
    shapepipe submit -c config.ini --on slurm --shards 8

    The section [BATCH] of the INI file says what to ask the batch system for.
    """
    made = submit_run(
        config, system, shards=shards, overrides=overrides, only=only, continue_run=resume,
        allow_change=allow_change, dry_run=dry_run, command=sys.argv,
    )  # fmt: skip
    show.submission(made)
    return 0


@verbs.command()
@click.option(
    "-d", "--output-dir", default=".", help="Output directory, or an INI file's OUTPUT_DIR."
)
@click.option("--name", default="shapepipe_runs", help="Name of the list of runs.")
def runs(output_dir, name):
    """List the runs of an output directory.

    \b
    shapepipe runs -d output
    """
    show.runs(Path(output_dir), name)
    return 0


@verbs.command()
@click.argument("run_directory", type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(run_directory, as_json):
    """Show how far a run is: units by step and outcome.

    \b
    shapepipe status output/run_2026-01-31_12-00-00
    """
    counts = show.count_records(RunDirectory(run_directory))
    if as_json:
        click.echo(json.dumps(counts))
    else:
        directory = RunDirectory(Path(run_directory).absolute())
        try:
            in_queue = bool(queued(directory))
        except RunRefused:  # the batch system is not on this machine
            in_queue = True
        show.status(directory, counts, in_queue)
    return 0


@verbs.command()
@click.argument("run_directory", type=click.Path(exists=True, file_okay=False))
@click.option("--html", type=click.Path(path_type=Path), help="Draw figures into this page.")
@click.option("--png", type=click.Path(path_type=Path), help="Draw figures into this folder.")
@click.option("--rest", type=click.IntRange(1), metavar="N", help="Price N further units.")
@click.option("--shards", type=click.IntRange(1), help="Shards to suggest time and memory for.")
def report(run_directory, html, png, rest, shards):
    """Show time, memory, bytes and errors of a run, step by step; suggest what to ask for.

    \b
    shapepipe report output/run_1
    shapepipe report output/run_1 --html report.html --rest 1000

    A further unit is one of what hangs together, such as an exposure with all its CCDs.
    """
    directory = RunDirectory(Path(run_directory).absolute())
    show_report(directory, html=html, png=png, rest=rest or 0, shards=shards)
    return 0


@verbs.command()
@click.argument("product", type=click.Path(exists=True))
def explain(product):
    """Say how a file was made: run, job, options, versions, inputs, back to the raw files.

    \b
    shapepipe explain output/run_1/psfex_runner/output/star_selection-2366993-18.psf
    """
    show.explain(Path(product).absolute())
    return 0


@verbs.command("list")
@click.option("--path", "folders", multiple=True, help="Folder with runners of your own.")
def list_(folders):
    """List the runners that can be found.

    \b
    shapepipe list
    shapepipe list --path my_runners
    """
    for name in list_runners(folders):
        click.echo(name)
    return 0


@verbs.command()
@click.argument("runner", shell_complete=complete_runner)
@click.option("--path", "folders", multiple=True, help="Folder with runners of your own.")
def describe(runner, folders):
    """Describe a runner: inputs, products, options.

    \b
    shapepipe describe mask_runner
    """
    show.describe(find_runner(runner, folders))
    return 0


@verbs.command()
@click.argument("runners", nargs=-1, required=True, shell_complete=complete_runner)
@click.option("--path", "folders", multiple=True, help="Folder with runners of your own.")
def template(runners, folders):
    """Print a commented INI file for a chain of runners.

    \b
    shapepipe template split_exp_runner mask_runner > config.ini
    """
    click.echo(show.template([find_runner(name, folders) for name in runners], runners), nl=False)
    return 0


@verbs.command()
@click.option("-c", "--config", required=True, help="INI file that describes the survey.")
@click.option("-o", "--folder", help="Where to write it; default: named as the INI file.")
@click.option("-n", "--workers", default=1, show_default=True, help="Number of processes.")
@click.option(
    "--mode", type=click.Choice(["smp", "mpi", "dask", "serial"]), default="smp", show_default=True
)
@CHANGE
def simulate(config, folder, workers, mode, allow_change):
    """Simulate a survey with known truth, or go on where it stopped.

    \b
    shapepipe simulate -c example/config/simulate_small.ini -o survey
    mpiexec -n 8 shapepipe simulate -c example/config/simulate_megacam.ini --mode mpi
    """
    simulator = importlib.import_module("shapepipe.simulate")
    chain = simulator.write_chain(config, folder, workers, mode)
    return _run(chain, (), (), simulator.earlier_run(chain), allow_change, (None, None))


@verbs.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("-s", "--survey", required=True, help="Folder that `shapepipe simulate` wrote.")
@click.option("-o", "--output", help="Folder for judge.json and plots; default: none are written.")
@click.option("--only", multiple=True, metavar="QUANTITY", help="Such as astrometry or shear.")
def judge(runs, survey, output, only):
    """Compare runs on a simulated survey with its truth.

    \b
    shapepipe judge output/run_quickstart_full -s input -o judged
    shapepipe judge output/run_quickstart_full -s input --only shear
    """
    judges = importlib.import_module("shapepipe.judge")
    for line in judges.show(judges.judge(runs, survey, output, only)):
        click.echo(line)
    return 0
