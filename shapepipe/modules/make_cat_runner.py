"""The final catalogue of a stack: one row for each detected object, with all that was measured.

Algorithm
---------
Tables are joined by NUMBER; every detection keeps its row, and what was not measured has a value
that says so. With c = SPREAD_MODEL + SM_ERROR_FACTOR SPREADERR_MODEL, an object is a star where
the absolute value of c is below SM_STAR_THRESH, a galaxy where c is above SM_GAL_THRESH, and
neither elsewhere.

References
----------
Desai et al. 2012, ApJ 757, 83 (classes from the spread model); Guinot et al. 2022, A&A 666, A162
(the thresholds).
"""

from typing import Literal

import numpy as np
from astropy.io import fits as afits
from astropy.table import Column
from pydantic import model_validator

import shapepipe
from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import epochs, finalcat, fits, ldac, spread, stampstore

# Cards of the stack that its catalogue keeps.
STACK_CARDS = ("OBJECT", "FILTER", "EXPTIME", "GAIN", "SATURATE", "PHOTZP", "RADESYS", "EQUINOX",
               "WCSAXES", "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1",
               "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1", "CDELT2", "PC1_1", "PC1_2",
               "PC2_1", "PC2_2", "LONPOLE", "LATPOLE")  # fmt: skip


class MakeCatOptions(Options):
    """How objects are classified, and which measurements are joined."""

    sm_do_classification: bool = option(True, doc="Add SPREAD_CLASS: 0 star, 1 galaxy, 2 other.")
    sm_star_thresh: float = option(
        0.003, at_least=0, aliases=("SM_STAR_STRESH",),
        doc="A star has |SPREAD_MODEL + SM_ERROR_FACTOR SPREADERR_MODEL| below this.",
    )  # fmt: skip
    sm_gal_thresh: float = option(
        0.01, at_least=0,
        doc="A galaxy has SPREAD_MODEL + SM_ERROR_FACTOR SPREADERR_MODEL above this.",
    )  # fmt: skip
    sm_error_factor: float = option(
        5 / 3, at_least=0, doc="Weight of the error; some versions of ShapePipe 1.x took 2."
    )
    shape_measurement_type: list[Literal["ngmix", "galsim"]] = option(
        ["ngmix"], doc="Shape catalogues to join: ngmix, galsim, both, or none if blank."
    )
    save_psf_data: bool = option(
        False, doc="Add shape and size of the PSF in each epoch of each object."
    )

    @model_validator(mode="after")
    def _ordered(self):
        if self.sm_star_thresh > self.sm_gal_thresh:
            raise ValueError(
                f"SM_STAR_THRESH = {self.sm_star_thresh:g} is above SM_GAL_THRESH = "
                f"{self.sm_gal_thresh:g}, so that an object could be both"
            )
        return self


@runner(
    inputs=[
        Input("catalogue", "sexcat", doc="Catalogue of the stack with its EPOCH tables."),
        Input("spread", "sexcat_sm", doc="Spread models."),
        Input("psf", "galaxy_psf", ext=".sqlite", doc="PSFs of the epochs.",
              when=lambda o: o.save_psf_data),
        Input("ngmix", when=lambda o: "ngmix" in o.shape_measurement_type,
              doc="Shapes, one HDU for each shear type."),
        Input("galsim", when=lambda o: "galsim" in o.shape_measurement_type,
              doc="Moments, any number of HDUs."),
    ],
    outputs=[Output("final", "final_cat", doc="HDU RESULTS with one row for each object.")],
    after=["sextractor_runner", "spread_model_runner", "psf_interp_runner", "ngmix_runner"],
    aliases=("make_catalog_runner",),
)  # fmt: skip
def make_cat_runner(job, opts: MakeCatOptions):
    """Join detections, spread models, epochs and shapes by the number of the object."""
    path = job.inputs["catalogue"]
    kept = [name for name in ldac.read_columns(path) if name not in finalcat.TEMPLATE_COLUMNS]
    table = ldac.read(path, columns=kept)
    table.meta.clear()
    numbers = np.asarray(table["NUMBER"])
    tile = job.number.strip("-_").replace("-", ".")
    table["TILE_ID"] = Column(np.full(len(table), tile or "?"), description="number of the stack")
    views = epochs.read_views(path, numbers)
    columns = finalcat.epoch_columns(views, len(table))
    columns += _spread_columns(job, opts, numbers)
    if opts.save_psf_data:
        stored = stampstore.read_stamps(job.inputs["psf"])
        columns += finalcat.psf_columns(views, len(table), _checked(job, numbers, stored))
    columns += _shape_columns(job, numbers)
    table.add_columns(columns)
    table.meta |= _provenance(job, opts, tile)
    _write(job.output("final"), table, ldac.read_header(path))
    return _figures(table)


def _spread_columns(job, opts, numbers):
    path = job.inputs["spread"]
    there = ldac.read_columns(path)
    names = ["SPREAD_MODEL", "SPREADERR_MODEL", *(["SPREAD_FLAG"] * ("SPREAD_FLAG" in there))]
    found = ldac.read(path, columns=["NUMBER", *names])
    rows = finalcat.rows_of(numbers, np.asarray(found["NUMBER"]), path)
    if len(rows) != len(numbers):
        raise BadInput(path, f"has {len(rows)} objects", f"the {len(numbers)} of the catalogue")
    order = np.argsort(rows)
    columns = [Column(found[name][order], name, description=found[name].description)
               for name in names]  # fmt: skip
    if opts.sm_do_classification:
        flag = columns[2] if len(columns) == 3 else np.asarray(columns[0]) == -1
        limits = opts.sm_star_thresh, opts.sm_gal_thresh, opts.sm_error_factor
        kinds = finalcat.classify(columns[0], columns[1], flag, *limits)
        columns.append(Column(kinds, "SPREAD_CLASS", description="0 star, 1 galaxy, 2 other"))
    return columns


def _checked(job, numbers, stored):
    """Entries of the store, which must be those of the catalogue in its order."""
    count = -1
    for count, (number, seen) in enumerate(stored):
        if count >= len(numbers) or number != numbers[count]:
            raise BadInput(job.inputs["psf"], f"object {number} is entry {count + 1}",
                           "the objects of the catalogue, in its order")  # fmt: skip
        yield number, seen
    if count + 1 != len(numbers):
        raise BadInput(job.inputs["psf"], f"has {count + 1} objects", str(len(numbers)))


def _shape_columns(job, numbers):
    columns = []
    if "ngmix" in job.inputs:
        path = job.inputs["ngmix"]
        tables = {kind: ldac.read(path, kind) for kind in finalcat.SHEAR_TYPES}
        columns += finalcat.shape_columns(tables, numbers, path)
    if "galsim" in job.inputs:
        path = job.inputs["galsim"]
        with fits.open_hdus(path) as hdus:
            kinds = [hdu.name for hdu in hdus if isinstance(hdu, afits.BinTableHDU)]
        tables = {kind: ldac.read(path, kind) for kind in kinds}
        columns += finalcat.galsim_columns(tables, numbers, path)
    return columns


def _provenance(job, opts, tile):
    """Cards that tell what the catalogue was made of."""
    cards = {"TILE_ID": tile, "SPVERS": shapepipe.__version__, "SMSTAR": opts.sm_star_thresh,
             "SMGAL": opts.sm_gal_thresh, "SMFACTOR": opts.sm_error_factor,
             "NOTMEAS": finalcat.NOT_MEASURED}  # fmt: skip
    cards |= {f"SPRBIT{flag.value}": flag.name for flag in spread.SpreadFlag}
    for i, role in enumerate(sorted(job.inputs)):
        cards[f"INPUT{i}"] = f"{role} {job.inputs[role].name}"
    return cards


def _write(path, table, header):
    """Write the table in HDU 1; HDU 0 has no pixels, but the place of the stack on the sky."""
    primary = afits.PrimaryHDU()
    for name in STACK_CARDS:
        if name in header:
            primary.header[name] = (header[name], header.comments[name])
    for axis in "12":
        if f"NAXIS{axis}" in header:
            primary.header[f"STACKNX{axis}"] = (header[f"NAXIS{axis}"], "size of the stack")
    fits.write_hdus(path, afits.HDUList([primary, ldac.table_hdu(table, "RESULTS")]))


def _figures(table):
    figures = {"n_objects": len(table), "n_columns": len(table.colnames)}
    if "SPREAD_CLASS" in table.colnames:
        for kind in finalcat.SpreadClass:
            figures[f"n_{kind.name.lower()}"] = int((table["SPREAD_CLASS"] == kind).sum())
    if "NGMIX_FLAGS_NOSHEAR" in table.colnames:
        flags = np.asarray(table["NGMIX_FLAGS_NOSHEAR"])
        figures["n_shapes"] = int((flags == 0).sum())
        figures["n_not_measured"] = int((flags == finalcat.NOT_MEASURED).sum())
    return figures
