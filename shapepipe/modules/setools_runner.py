"""Select objects from SExtractor catalogues, such as stars for the PSF model; plot and sum them up.

The selection is written in a small language in a file of its own; `docs/setools.md` describes it.

Algorithm
---------
The whole file is parsed and checked first. Masks are evaluated row by row, statistics over the
rows of a mask. The mode, which finds the locus of stars, is the centre of the fullest bin of ever
narrower histograms.

References
----------
Farrens et al. 2022, A&A 664, A141 (selection of stars by size and magnitude).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from astropy.table import Table
from pydantic import field_validator

from shapepipe import (
    ConfigurationError,
    Input,
    InputFile,
    NoUsableData,
    Options,
    Output,
    option,
    runner,
)
from shapepipe.astro import ldac
from shapepipe.astro.selection import Selection, catalogues, plots, read_script


class SetoolsOptions(Options):
    """Options of setools_runner."""

    setools_config_path: InputFile = option(
        doc="Selection file (.setools): masks, plots, statistics, new catalogues, random splits.",
        example="start/example.setools",
    )

    @field_validator("setools_config_path")
    @classmethod
    def _check_script(cls, path: Path) -> Path:
        """Report every mistake in the selection file while options are read."""
        try:
            read_script(path)
        except ConfigurationError as error:
            raise ValueError(
                "\n  ".join(["the selection file is wrong", *error.complaints])
            ) from None
        return path


def masks_of(opts: SetoolsOptions) -> list[str]:
    """Return the masks that will be saved, as file names before the number."""
    return [f"mask/{mask.name}" for mask in _script(opts).saved_masks]


def plots_of(kind: str, opts: SetoolsOptions) -> list[str]:
    """Return the plots in one format."""
    return [f"plot/{plot.name}" for plot in _script(opts).plots if plot.format == kind]


def statistics_of(opts: SetoolsOptions) -> list[str]:
    """Return the files of statistics."""
    return [f"stat/{section.name}" for section in _script(opts).statistics]


def catalogues_of(kind: str, opts: SetoolsOptions) -> list[str]:
    """Return the new catalogues in one format."""
    sections = _script(opts).catalogues
    return [f"new_cat/{section.name}" for section in sections if section.format == kind]


def splits_of(opts: SetoolsOptions) -> list[str]:
    """Return the two parts of each random split."""
    return [f"rand_split/{part}" for split in _script(opts).splits for part in split.parts]


@runner(
    inputs=[Input("sexcat", doc="SExtractor catalogue (FITS_LDAC).")],
    outputs=[
        Output("mask", pattern=masks_of, doc="Selected rows, with all columns (FITS_LDAC)."),
        Output("rand_split", pattern=splits_of, doc="Rows drawn at random, and the others."),
        Output("stat", pattern=statistics_of, ext=".txt", doc="Lines of label = value."),
        *(
            Output(
                f"plot_{kind}", partial(plots_of, kind), ext=f".{kind}", doc="Plots of this format."
            )
            for kind in plots.FORMATS
        ),
        *(
            Output(
                f"new_cat_{kind}",
                pattern=partial(catalogues_of, kind),
                ext=".txt" if kind == "txt" else ".fits",
                doc="Computed columns.",
            )
            for kind in catalogues.FORMATS
        ),
    ],
    after=["sextractor_runner"],
    numbering="_0",
    packages=["lark", "matplotlib"],
)
def setools_runner(job, opts: SetoolsOptions):
    """Apply a selection file to a catalogue."""
    script, parent = _script(opts), job.inputs["sexcat"]
    table = ldac.read(parent)
    columns = {name: table[name].data for name in table.colnames}
    selection = Selection.of(script, columns, len(table))
    metrics = {f"n_{name}": count for name, count in selection.counts().items()}
    metrics = {"n_objects": len(table), **metrics}
    _require_rows(script, selection)
    for mask in script.saved_masks:
        path = job.output("mask", pattern=f"mask/{mask.name}")
        ldac.write(path, table[selection.masks[mask.name]], header_of=parent)
    for split in script.splits:
        drawn = split.draw(selection.masks, len(table), job.rng)
        for part, rows in zip(split.parts, drawn, strict=True):
            path = job.output("rand_split", pattern=f"rand_split/{part}")
            ldac.write(path, table[rows], header_of=parent)
    for section in script.statistics:
        path = job.output("stat", pattern=f"stat/{section.name}")
        path.write_text(selection.statistics_text(section), encoding="utf-8")
    for plot in script.plots:
        path = job.output(f"plot_{plot.format}", pattern=f"plot/{plot.name}")
        selection.save_plot(plot, path)
    for section in script.catalogues:
        _write_catalogue(job, section, selection.new_columns(section))
    return metrics


def _script(opts: SetoolsOptions):
    return read_script(opts.setools_config_path)


def _require_rows(script, selection: Selection) -> None:
    """A selection that leaves nothing at all is an expected lack of data, with its counts."""
    counts, saved = selection.counts(), script.saved_masks
    if saved and not any(counts[mask.name] for mask in saved):
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        total = len(selection.masks[saved[0].name])
        raise NoUsableData(f"no object is selected of {total} (rows per mask: {found})")


def _write_catalogue(job, section, columns: dict) -> None:
    path = job.output(f"new_cat_{section.format}", pattern=f"new_cat/{section.name}")
    table = Table(columns)
    match section.format:
        case "SEx_cat":
            ldac.write(path, table, header_of=job.inputs["sexcat"])
        case "fits":
            ldac.write_plain(path, table)
        case "txt":
            table.write(path, format="ascii.commented_header")
