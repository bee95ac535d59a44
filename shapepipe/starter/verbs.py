"""The verbs that get somebody started: `init`, `convert`, `new-runner`, `completion`.

Only what click needs stands here; the work is loaded when a verb is called.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click
from click import shell_completion

from shapepipe.pipeline.runner import list_runners


@click.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", help="Where to write the new file; default: standard output.")
def convert(old, output):
    """Rewrite an INI file of ShapePipe 1.x with the names of this version.

    \b
    shapepipe convert config_exp.ini -o new.ini

    What was changed, and what shapepipe check still complains of, is printed. Exit status: 0 the
    new file passes the check, 2 it does not yet.
    """
    work = importlib.import_module("shapepipe.starter.convert")
    changes, complaints = work.convert_file(Path(old), Path(output) if output else None)
    for line in [*changes, *(f"check: {line}" for line in complaints)]:
        click.echo(line, err=True)
    click.echo(f"{len(changes)} changes, {len(complaints)} complaints", err=True)
    return 2 if any(not line.startswith("warning") for line in complaints) else 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("-o", "--output", default="config.ini", show_default=True, help="INI file to write.")
@click.option("-y", "--yes", is_flag=True, help="Take every guess; ask nothing.")
def init(folder, output, yes):
    """Write a configuration for the FITS images in a folder.

    \b
    shapepipe init my_images
    shapepipe init my_images -o night1/config.ini --yes

    Names, headers and a few images are looked at; what is guessed from them stands in the INI
    file with its reason. Files that are there already are not overwritten.
    """
    work = importlib.import_module("shapepipe.starter.init")
    quiet = yes or not sys.stdin.isatty()
    begun = work.begin(folder, output, _take_guess if quiet else _ask)
    for note in begun.proposal.notes:
        click.echo(f"note: {note}")
    click.echo(f"images: {begun.proposal.images.title}")
    click.echo(
        f"wrote {', '.join(path.name for path in begun.written)} in {begun.written[0].parent}"
    )
    for line in begun.complaints:
        click.echo(f"before it can run: {line}")
    if not begun.complaints:
        click.echo(f"{output} passes the check; {begun.n_units} units in its first step")
    click.echo(f"read it, then: shapepipe_run -c {output}")
    if begun.proposal.stacks:
        tile = Path(output).with_name(f"{Path(output).stem}_tile.ini")
        click.echo(f"and for the stacks of these exposures: shapepipe_run -c {tile}")
    return 2 if begun.complaints else 0


def _ask(question, guess, why):
    click.echo(why)
    return click.prompt(question, default=guess)


def _take_guess(question, guess, why):
    return guess


@click.command("new-runner")
@click.argument("name")
@click.option("-d", "--folder", default=".", show_default=True, help="Where to make the package.")
def new_runner(name, folder):
    """Begin a package with a runner of your own: entry point, options, test, page.

    \b
    shapepipe new-runner seeing
    cd shapepipe_seeing && pip install -e ".[test]" && pytest
    shapepipe describe seeing_runner
    """
    work = importlib.import_module("shapepipe.starter.new_runner")
    for path in work.make_package(name, folder):
        click.echo(f"wrote {path}")
    return 0


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context, shell):
    """Print what makes a shell complete shapepipe and shapepipe_run.

    \b
    eval "$(shapepipe completion bash)"                    in ~/.bashrc
    eval "$(shapepipe completion zsh)"                     in ~/.zshrc
    shapepipe completion fish > ~/.config/fish/conf.d/shapepipe.fish

    Verbs, options and runners are completed.
    """
    complete = shell_completion.get_completion_class(shell)
    runs = importlib.import_module("shapepipe.cli").shapepipe_run
    for command, name in ((context.parent.command, "shapepipe"), (runs, "shapepipe_run")):
        click.echo(complete(command, {}, name, f"_{name.upper()}_COMPLETE").source())
    return 0


def complete_runner(context, parameter, beginning):
    """Names of runners that begin in this way."""
    folders = context.params.get("folders") or ()
    return [name for name in list_runners(folders) if name.startswith(beginning)]


STARTER_VERBS = (convert, init, new_runner, completion)
