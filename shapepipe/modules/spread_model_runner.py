"""Spread model of the objects of a stack, from its stamps and the PSFs of its exposures.

Algorithm
---------
With the stamp g of the tile, the PSF p, and a template t, the PSF convolved with an exponential
disc of scale length FWHM/16, SPREAD_MODEL = (t g)/(p g) - (t p)/(p p), where products are sums
over pixels, weighted by the inverse variance. The PSF of the tile is the sum of those of its
epochs, turned as their CCDs are.

References
----------
Desai et al. 2012, ApJ 757, 83; Bouy et al. 2013, A&A 554, A101; manual of SExtractor,
SPREAD_MODEL.
"""

from itertools import zip_longest
from typing import ClassVar, Literal

import numpy as np

from shapepipe import BadInput, Input, Options, Output, ProductFile, option, runner
from shapepipe.astro import ldac, moments, spread, stampstore, wcs
from shapepipe.astro.ccdtable import CcdTable

CHUNK = 500  # objects in memory at a time
CLOSE = 2.0  # pixels; XWIN_IMAGE farther from X_IMAGE has gone astray
MEANING = {
    "SPREAD_MODEL": "spread model: 0 for stars, above for galaxies",
    "SPREADERR_MODEL": "standard error of SPREAD_MODEL",
    "SPREAD_FLAG": "why SPREAD_MODEL is not to be used, 0 is good",
}


class SpreadModelOptions(Options):
    """Which PSF to compare with, and what to write."""

    prefix: str = option("", aliases=("SUFFIX",), doc="Put before the name of the product.")
    retired: ClassVar = {"PIXEL_SCALE": "all sizes are in pixels"}
    output_mode: Literal["new", "add"] = option(
        "new", doc="new: a table with NUMBER, MAG and the spread model; add: the whole catalogue."
    )
    psf_model: Literal["SUM", "GAUSS"] = option(
        "SUM",
        doc="SUM: the weighted sum of the PSFs of the epochs, moved to the object. GAUSS: a round "
        "Gaussian with the mean of their sizes, in the middle of the stamp, as ShapePipe 1.x.",
    )
    epoch_weights: bool = option(
        False,
        doc="Weigh the PSF of each epoch with the mean of its weight stamp, which is the last "
        "input (by vignetmaker_runner, MULTI-EPOCH); otherwise all epochs are equal.",
    )
    log_wcs: ProductFile | None = option(
        None,
        doc="Table of merge_headers_runner: PSFs of CCDs that are mounted the other way round are "
        "turned to the stack, and FSCALE counts in the weights; without it they are as they are.",
    )


@runner(
    inputs=[
        Input("catalogue", "sexcat", doc="Catalogue of the stack with VIGNET."),
        Input("psf", "galaxy_psf", ext=".sqlite", doc="PSFs of the epochs."),
        Input("weight", "weight_vignet", doc="Weight stamps of the stack."),
        Input("epoch_weight", "weight_vignet", ext=".sqlite", when=lambda o: o.epoch_weights,
              doc="Weight stamps of the epochs."),
    ],
    outputs=[Output("spread", lambda o: f"{o.prefix}_sexcat_sm" if o.prefix else "sexcat_sm",
                    doc="LDAC table with SPREAD_MODEL and SPREADERR_MODEL.")],
    after=["sextractor_runner", "psf_interp_runner", "vignetmaker_runner"],
)  # fmt: skip
def spread_model_runner(job, opts: SpreadModelOptions):
    """Compare each object with the PSF of the stack at its place."""
    path = job.inputs["catalogue"]
    table = ldac.read(path, columns=["NUMBER", "MAG_AUTO"])
    _check_length(job.inputs["weight"], len(table))
    frames = Frames(job, opts)
    parts = []
    for start in range(0, len(table), CHUNK):
        rows = slice(start, min(start + CHUNK, len(table)))
        parts.append(_measure(job, opts, rows, frames))
    found = [np.concatenate(column) for column in zip(*parts, strict=True)] or [np.zeros(0)] * 3
    written = ldac.read(path) if opts.output_mode == "add" else table
    if opts.output_mode == "new":
        written.rename_column("MAG_AUTO", "MAG")
    for (name, meaning), values in zip(MEANING.items(), found, strict=True):
        written[name] = values
        written[name].description = meaning
    written.meta |= {f"SPRBIT{flag.value}": flag.name for flag in spread.SpreadFlag}
    ldac.write(job.output("spread"), written, header_of=path)
    flagged = int((found[2] != 0).sum())
    return {"n_objects": len(table), "n_flagged": flagged, "n_without_psf": frames.n_without}


class Frames:
    """How the CCDs of the epochs lie on the stack, and what their counts weigh."""

    def __init__(self, job, opts):
        path = job.inputs["catalogue"]
        self.n_without = 0
        self._turns = {}
        self._ccds = CcdTable(opts.log_wcs) if opts.log_wcs else None
        if self._ccds:
            self._stack = wcs.from_header(ldac.read_header(path), path)
        else:
            job.log.warning("without LOG_WCS, PSFs of CCDs are not turned to the stack")

    def look_up(self, label, ra, dec):
        """Matrix that turns a stamp of a CCD to the stack, and FSCALE."""
        if not self._ccds:
            return np.eye(2, dtype=int), 1.0
        solution, scale = self._ccds.look_up(label)
        if label not in self._turns:
            self._turns[label] = spread.orientation(solution, self._stack, ra, dec)
        return self._turns[label], scale


def _measure(job, opts, rows, frames):
    """Spread model, error and flag of some rows."""
    path = job.inputs["catalogue"]
    names = ["NUMBER", "VIGNET", "X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "XWIN_WORLD",
             "YWIN_WORLD"]  # fmt: skip
    table = ldac.read(path, columns=names, rows=rows)
    weights = np.asarray(ldac.read(job.inputs["weight"], columns=["VIGNET"], rows=rows)["VIGNET"])
    images = np.asarray(table["VIGNET"])
    if weights.shape != images.shape:
        raise BadInput(job.inputs["weight"], f"stamps of {weights.shape[1:]} pixels",
                       f"those of {path.name}: {images.shape[1:]}")  # fmt: skip
    psfs, sigma = _psfs(job, opts, table, rows, frames)
    frames.n_without += int(np.isnan(sigma).sum())
    dx, dy = (_offset(table, axis) for axis in "XY")
    if opts.psf_model == "GAUSS":
        psfs, dx, dy = spread.gaussian_psfs(sigma, images.shape[1:]), 0 * dx, 0 * dy
    fwhm = spread.FWHM_PER_SIGMA * sigma
    found = spread.spread_model(images, weights, *spread.templates(psfs, fwhm, dx, dy))
    return found.model, found.error, found.flag


def _psfs(job, opts, table, rows, frames):
    """PSF of the stack at each object, of the shape of its stamp, and sigma; NaN without any."""
    shape = table["VIGNET"].shape[1:]
    psfs, sigma = np.full((len(table), *shape), np.nan), np.full(len(table), np.nan)
    stores = [stampstore.read_stamps(job.inputs["psf"], rows.start, rows.stop)]
    if opts.epoch_weights:
        stores.append(stampstore.read_stamps(job.inputs["epoch_weight"], rows.start, rows.stop))
    for row, entries in enumerate(zip_longest(table["NUMBER"], *stores, fillvalue=(None, {}))):
        number, (found, seen), *weighted = entries
        if any(other != number for other in (found, *(w[0] for w in weighted))):
            raise BadInput(job.inputs["psf"], f"object {found} stands where the catalogue has "
                           f"{number}", "stores made from the same catalogue")  # fmt: skip
        if seen:
            place = table["XWIN_WORLD"][row], table["YWIN_WORLD"][row]
            weigh = weighted[0][1] if weighted else {}
            psfs[row], sigma[row] = _combine(opts, seen, weigh, place, shape, frames)
    return psfs, sigma


def _combine(opts, seen, weigh, place, shape, frames):
    """PSF of one object on the stack, and its sigma in pixels."""
    stamps, weights, sizes = [], [], []
    for label, entry in seen.items():
        step, scale = frames.look_up(label, *place)
        stamps.append(spread.turn(entry["VIGNET"], step))
        mean = np.mean(weigh[label]["VIGNET"], dtype=float) if label in weigh else 0.0
        weights.append((mean if opts.epoch_weights else 1.0) / scale**2)
        sizes.append(entry.get("SHAPES", {}).get("SIGMA_PSF_HSM", np.nan))
    total = spread.stacked_psf(stamps, weights)
    sizes = np.array(sizes)
    if not np.isfinite(sizes).any():
        sizes = moments.measure(total[None]).sigma
    known = np.isfinite(sizes)
    return _reshape(total, shape), sizes[known].mean() if known.any() else np.nan


def _reshape(stamp, shape):
    """Cut or pad a stamp about its middle pixel (n // 2)."""
    for axis, wanted in enumerate(shape):
        more = wanted // 2 - stamp.shape[axis] // 2
        after = wanted - stamp.shape[axis] - more
        pad = [(0, 0), (0, 0)]
        pad[axis] = (max(more, 0), max(after, 0))
        kept = slice(max(-more, 0), stamp.shape[axis] - max(-after, 0))
        stamp = np.pad(np.take(stamp, range(*kept.indices(stamp.shape[axis])), axis), pad)
    return stamp


def _offset(table, axis):
    """Place of the objects from the middle pixel of SExtractor's stamps, which X_IMAGE decides."""
    coarse, fine = (np.asarray(table[f"{axis}{kind}_IMAGE"], float) for kind in ("", "WIN"))
    place = np.where(np.abs(fine - coarse) < CLOSE, fine, coarse)
    return place - np.floor(coarse + 0.49999)


def _check_length(path, length):
    found = ldac.count(path)
    if found != length:
        raise BadInput(path, f"has {found} rows", f"{length}, as the catalogue")
