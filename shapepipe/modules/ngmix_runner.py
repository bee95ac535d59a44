"""Shapes of the objects of a stack, from the stamps of its exposures, with their shear response.

Algorithm
---------
Metacalibration: the image is deconvolved from the PSF, sheared by a small amount in four
directions and reconvolved with a round, slightly larger PSF; a Gaussian with priors on centre and
ellipticity is fitted to all epochs together. Differences of the sheared shapes are the response
to shear. A noise field of the same variance, put through the same steps turned by 90 degrees,
makes the noise round again.

References
----------
Huff & Mandelbaum 2017, arXiv:1702.02600, and Sheldon & Huff 2017, ApJ 841, 24 (metacalibration);
Bernstein & Armstrong 2014, MNRAS 438, 1880 (prior on shapes); Hirata & Seljak 2003, MNRAS 343,
459 (moments of the PSF).
"""

import importlib
from itertools import zip_longest
from typing import ClassVar, Literal

import numpy as np
from astropy.table import Table

from shapepipe import BadInput, Input, Output, ProductFile, RowsOptions, option, runner
from shapepipe.astro import epochs, jacobians, ldac, stamps, stampstore, wcs
from shapepipe.astro.ccdtable import CcdTable
from shapepipe.astro.tablestream import TableStream
from shapepipe.shear import (
    Batch,
    Settings,
    ShapeFlag,
    Shapes,
    epoch_identity,
    measure_with_halves,
)
from shapepipe.shear.halves import HALF_COLUMNS

AT_ONCE = 128  # objects whose stamps are in memory
WRITTEN_AT_ONCE = 4096  # objects whose shapes are in memory
ORDER = ("1m", "1p", "2m", "2p", "noshear")  # of the HDUs, as in ShapePipe 1.x
HALVES = {"a": "the added noise field", "b": "the negative of the added noise field"}
STORES = ("image", "background", "psf", "weight", "flag")
MEANING = {
    "T": ("arcsec2", "area 2 sigma^2 of the pre-seeing Gaussian; ShapePipe 1.x wrote r50"),
    "r50": ("arcsec", "half-light radius of the same Gaussian, sqrt(ln 2 T)"),
    "Tpsf": ("arcsec2", "area of the round Gaussian that replaces the PSF"),
    "g1": ("", "reduced shear, along the axes west (u) and north (v)"),
    "flags": ("", "why this type failed, 0 is good"),
    "mcal_flags": ("", "flags of all types together"),
    "notes": ("", "lost epochs and other remarks; not for selection"),
    "R1_g1": ("", "analytic response of g1 to shear 1"),
}


class NgmixOptions(RowsOptions):
    """How shapes are measured."""

    retired: ClassVar = {
        "N_OBJ_MAX": "the whole catalogue is measured; chunks are CHUNKS",
        "RUN_METACAL": "the response to shear is always measured",
        "DO_GALSIMFIT": "was never used",
        "DO_GALSIMFIT0": "was never used",
        "NTRY": "was never used",
    }
    engine: Literal["native", "ngmix", "moments"] = option(
        "native",
        doc="native: Gaussian fit; moments: fixed Gaussian weight; ngmix: the ngmix package.",
    )
    log_wcs: ProductFile = option(doc="Table of merge_headers_runner with the WCS of exposures.")
    mag_zp: float = option(30.0, doc="Zero point of the magnitudes.", unit="mag")
    pixel_scale: float | None = option(
        None, above=0, unit="arcsec",
        doc="Width of the prior on the centre; blank: the pixel scale of the object's epochs.",
    )  # fmt: skip
    id_obj_min: int = option(0, doc="Smallest NUMBER to measure; 0 or less: no limit.")
    id_obj_max: int = option(0, doc="Largest NUMBER to measure; 0 or less: no limit.")
    position_params: list[str] = option(
        ["XWIN_WORLD", "YWIN_WORLD"], doc="Two columns with the position, degrees."
    )
    flux_scale: bool = option(
        True, doc="Bring each epoch to the common zero point with FSCALE of its header."
    )
    noise: Literal["weight", "scaled"] = option(
        "weight",
        doc="weight: weight maps are inverse variances. scaled: only up to a factor, which follows "
        "from the scatter of the pixels of each stamp.",
    )
    antithetic: bool = option(
        True,
        doc="Average over the added noise field and its negative: less noise. Columns _a "
        "and _b are those of each half, for cuts.",
    )
    epochs: list[str] = option(
        [],
        doc="Measure from these exposures of the stack alone, by their names in EPOCH_<i>; odd or "
        "even: the first, third ... or the second, fourth ... in the order of their names. Blank: "
        "all.",
    )
    prefix: str = option("", doc="Put before the name of the product.")
    estimator: Literal["fit", "wmom", "admom"] | None = option(
        None, doc="Overrides the estimator that ENGINE stands for."
    )

    def settings(self) -> Settings:
        """The engine's settings."""
        estimator = self.estimator or {"moments": "wmom"}.get(self.engine, "fit")
        return Settings(
            estimator=estimator,
            pair=self.antithetic,
            centre_sigma=self.pixel_scale,
            target="epoch" if estimator == "fit" else "object",
        )


def join_shares(parts, output):
    """Join the tables of the shares, type by type."""
    with TableStream(output) as stream:
        for part in parts:
            stream.add({kind.upper(): ldac.read(part, hdu=kind.upper()) for kind in ORDER})


@runner(
    inputs=[
        Input("catalogue", "sexcat", doc="Catalogue of the stack."),
        Input("image", "image_vignet", ext=".sqlite", doc="Stamps of the exposures."),
        Input("background", "sexcat_background_vignet", ext=".sqlite", doc="Their sky level."),
        Input("psf", "galaxy_psf", ext=".sqlite", doc="PSFs of the epochs."),
        Input("weight", "weight_vignet", ext=".sqlite", doc="Weight stamps of the exposures."),
        Input("flag", "flag_vignet", ext=".sqlite", doc="Flag stamps; not 0: masked."),
    ],
    outputs=[
        Output(
            "shapes",
            lambda o: f"{o.prefix}_ngmix" if o.prefix else "ngmix",
            doc="Tables 1M, 1P, 2M, 2P, NOSHEAR.",
        )
    ],
    after=["sextractor_runner", "psf_interp_runner", "vignetmaker_runner"],
    scope="rows",
    merge=join_shares,
)
def ngmix_runner(job, opts: NgmixOptions):
    """Measure shapes of all objects; what cannot be measured has flags."""
    rows = job.rows.of(ldac.count(job.inputs["catalogue"]))
    columns = ["NUMBER", *opts.position_params]
    table = ldac.read(job.inputs["catalogue"], columns=columns, rows=rows)
    engine, settings = _engine(opts), opts.settings()
    wanted = _wanted_exposures(job, opts)
    ccds = CcdTable(opts.log_wcs, opts.flux_scale)
    tally = {"n_objects": 0, "n_failed": 0, "n_epochs": 0}
    with TableStream(job.output("shapes")) as stream:
        blocks = _gather(job, opts, table, rows, ccds, wanted)
        found = ((part, engine(_batch(data, opts, ccds), settings)) for part, data in blocks)
        for numbers, shapes, *halves in _joined(found, settings.results):
            stream.add(_tables(numbers, shapes, halves, opts.mag_zp))
            tally["n_objects"] += len(shapes)
            tally["n_failed"] += int((~shapes.good).sum())
            tally["n_epochs"] += int(shapes.n_epoch.sum())
    return tally


def _joined(found, results):
    """Numbers and results of `WRITTEN_AT_ONCE` objects or more; at least once."""
    numbers, parts = [], [(Shapes.empty(0),) * results]
    written = False
    for part, measured in found:
        numbers.extend(part)
        parts.append(measured)
        if len(numbers) >= WRITTEN_AT_ONCE:
            yield np.array(numbers, np.int64), *map(Shapes.joined, zip(*parts, strict=True))
            numbers, parts, written = [], parts[:1], True
    if numbers or not written:
        yield np.array(numbers, np.int64), *map(Shapes.joined, zip(*parts, strict=True))


def _engine(opts):
    """The function that measures a batch."""
    if opts.engine != "ngmix":
        return measure_with_halves
    try:
        return importlib.import_module("shapepipe.shear.ngmix_engine").measure_with_halves
    except ModuleNotFoundError as error:
        raise BadInput("ENGINE = ngmix", f"{error}; it comes from conda-forge", "native") from error


def _wanted_exposures(job, opts):
    """Exposures to measure from; None: all."""
    if not opts.epochs:
        return None
    path = job.inputs["catalogue"]
    wanted = epochs.choose_exposures(epochs.read_exposures(path), opts.epochs)
    if not wanted:
        raise BadInput(path, f"has none of the exposures EPOCHS = {', '.join(opts.epochs)}")
    job.log.info("from exposures %s alone", ", ".join(wanted))
    return set(wanted)


def _only(entry, wanted):
    """What is stored of an object, of the wanted exposures alone."""
    if wanted is None:
        return entry
    return {label: seen for label, seen in entry.items() if label.rpartition("-")[0] in wanted}


def _gather(job, opts, table, rows, ccds, wanted):
    """Numbers and stamps of some objects at a time, read in step from all stores."""
    stores = [stampstore.read_stamps(job.inputs[r], rows.start, rows.stop) for r in STORES]
    numbers, objects = [], []
    for row, entries in enumerate(zip_longest(table["NUMBER"], *stores, fillvalue=(None, {}))):
        number, *stored = entries
        for role, (other, _) in zip(STORES, stored, strict=True):
            if other != number:
                raise BadInput(
                    job.inputs[role],
                    f"object {other} stands where the catalogue has {number}",
                    "stores made from the same catalogue",
                )
        if opts.id_obj_min > 0 and number < opts.id_obj_min:
            continue
        if opts.id_obj_max > 0 and number > opts.id_obj_max:
            continue
        numbers.append(int(number))
        place = [float(table[name][row]) for name in opts.position_params]
        objects.append((*place, [_only(entry, wanted) for _, entry in stored]))
        if len(objects) == AT_ONCE:
            yield numbers, objects
            numbers, objects = [], []
    if objects:
        yield numbers, objects


def _batch(objects, opts, ccds):
    """Arrays of the objects' epochs; an epoch counts if all stores have it."""
    labels = [sorted(set.intersection(*(set(entry) for entry in o[2]))) for o in objects]
    offsets = np.concatenate([[0], np.cumsum([len(some) for some in labels])]).astype(np.int64)
    ra, dec = (np.array([o[i] for o in objects]) for i in (0, 1))
    flat = [(o[2], label) for o, some in zip(objects, labels, strict=True) for label in some]
    owner = np.repeat(np.arange(len(objects)), np.diff(offsets))

    def stacked(place):
        if not flat:
            return np.zeros((0, 1, 1), np.float32)
        return np.array([entries[place][label]["VIGNET"] for entries, label in flat])

    image, background, psf, weight, flag = (stacked(place) for place in range(5))
    image = (image - background).astype(np.float32)
    weight = np.where(flag == 0, weight, 0).astype(np.float32)
    names = np.array([label for _, label in flat], dtype=str)
    centre, jacobian, scale = _places(names, ra[owner], dec[owner], image.shape, ccds)
    image *= scale[:, None, None]
    weight /= scale[:, None, None] ** 2
    if opts.noise == "scaled":
        weight *= _noise_factor(image, weight)[:, None, None]
    identity = np.array([epoch_identity(str(name)) for name in names], np.uint64)
    psf = psf.astype(np.float32)
    psf_centre = np.tile(np.array(psf.shape[:0:-1]) // 2, (len(psf), 1)).astype(float)
    return Batch(
        image, weight, psf, jacobian, centre, offsets, ra, dec, identity, psf_centre=psf_centre
    )


def _places(names, ra, dec, shape, ccds):
    """Centre in the stamp, Jacobian and flux scale of each epoch, CCD by CCD."""
    centre, jacobian = np.full((len(names), 2), np.nan), np.full((len(names), 2, 2), np.nan)
    scale = np.ones(len(names), np.float32)
    for name in np.unique(names):
        here = np.flatnonzero(names == name)
        solution, scale[here] = ccds.look_up(str(name))
        x, y = wcs.world_to_pixel(solution, ra[here], dec[here])
        here, x, y = (values[np.isfinite(x) & np.isfinite(y)] for values in (here, x, y))
        centre[here, 0] = x - stamps.middle_pixel(x) + shape[2] // 2
        centre[here, 1] = y - stamps.middle_pixel(y) + shape[1] // 2
        if len(here):
            jacobian[here] = jacobians.local_jacobians(solution, x, y)
    return centre, jacobian, scale


def _noise_factor(image, weight):
    """What makes inverse variances of weights: from the median absolute pixel / its noise."""
    factor = np.ones(len(image), np.float32)
    for e, (pixels, inverse) in enumerate(zip(image, weight, strict=True)):
        good = (inverse > 0) & np.isfinite(pixels)
        if good.any():
            values = pixels[good] * np.sqrt(inverse[good])
            spread = 1.4826 * np.median(np.abs(values - np.median(values)))
            factor[e] = 1 / spread**2 if spread > 0 else 1.0
    return factor


def _tables(numbers, shapes, halves, zero_point):
    """Some rows of the table of each shear type, by the name of its HDU."""
    made = {}
    for kind in ORDER:
        table = Table(_columns(numbers, shapes, kind, zero_point) | _half_columns(halves, kind))
        for name, (unit, text) in MEANING.items():
            table[name].unit, table[name].description = unit or None, text
        for name in table.colnames:
            plain, _, suffix = name.rpartition("_")
            if plain in HALF_COLUMNS and suffix in HALVES:
                table[name].unit = table[plain].unit
                table[name].description = f"{plain} with {HALVES[suffix]}; for cuts"
        table.meta |= {f"SHPB{flag.value}": flag.name for flag in ShapeFlag}
        made[kind.upper()] = table
    return made


def _columns(numbers, shapes, kind, zero_point):
    """Columns under their names in the catalogues of ShapePipe, then the new ones."""
    own = shapes.columns(kind)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(own["flux"] > 0, zero_point - 2.5 * np.log10(np.abs(own["flux"])), np.nan)
        mag_err = 2.5 / np.log(10) * own["flux_err"] / np.abs(own["flux"])
    made = {
        "id": numbers,
        "n_epoch_model": own.pop("n_epoch"),
        "moments_fail": (own["notes"] & int(ShapeFlag.BAD_PSF) != 0).astype(np.int32),
        "ntry_fit": own.pop("passes"),
        "g1_psfo_ngmix": own.pop("g1_psfo"),
        "g2_psfo_ngmix": own.pop("g2_psfo"),
        "T_psfo_ngmix": own.pop("T_psfo"),
    }
    # the PSF model is taken to be free of noise
    for name in ("g1_err_psfo_ngmix", "g2_err_psfo_ngmix", "T_err_psfo_ngmix"):
        made[name] = np.zeros(len(numbers))
    for name in ("g1", "g1_err", "g2", "g2_err", "T", "T_err"):
        made[name] = own.pop(name)
    made["Tpsf"] = own.pop("T_psf")
    for name in ("g1_psf", "g2_psf", "flux", "flux_err", "s2n"):
        made[name] = own.pop(name)
    made |= {"mag": mag, "mag_err": mag_err, "flags": own.pop("flags")}
    made["mcal_flags"] = np.bitwise_or.reduce(shapes.flags, axis=1)
    return made | own


def _half_columns(halves, kind):
    """What cuts need of each half of the noise pair: g1_a, g1_b and so on."""
    made = {}
    for suffix, half in zip(HALVES, halves, strict=False):
        own = half.columns(kind)
        made |= {f"{name}_{suffix}": own[name] for name in HALF_COLUMNS}
    return made
