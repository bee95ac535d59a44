"""The verbs of the command line that get somebody started: `convert`, and what is to come.

Only what click needs stands here; the work is loaded when a verb is called.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import click


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


STARTER_VERBS = (convert,)
