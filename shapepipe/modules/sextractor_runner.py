"""Sources of an image, detected and measured by SExtractor; for a stack, who sees them.

Algorithm
---------
SExtractor detects connected pixels above a threshold of the filtered image, deblends and measures
them. For a stack, its HISTORY cards name the exposures; candidates for each CCD are found from
its outline on the sky and put through its WCS, and an object is on a CCD if its pixel lies
strictly inside CCD_SIZE.

References
----------
Bertin & Arnouts 1996, A&AS 117, 393; manual of SExtractor.
"""

import re
from pathlib import Path

import numpy as np
from pydantic import field_validator, model_validator

from shapepipe import (
    BadInput,
    Input,
    InputFile,
    NoUsableData,
    Options,
    Output,
    ProductFile,
    Program,
    ProgramFailed,
    option,
    runner,
)
from shapepipe.astro import dotfiles, epochs, fits, ldac, sightings, skynoise, undated

_FLAG_COLUMNS = ("IMAFLAGS_ISO", "NIMAFLAGS_ISO")


class SExtractorOptions(Options):
    """Which inputs SExtractor gets, its parameter files, and what it leaves."""

    exec_path: str = option("sex", doc="Name or path of SExtractor.")
    dot_sex_file: InputFile = option(
        doc="SExtractor configuration (.sex).", example="start/default.sex"
    )
    dot_param_file: InputFile = option(
        doc="Columns of the catalogue (.param).", example="start/default.param"
    )
    dot_conv_file: InputFile = option(doc="Detection filter (.conv).", example="start/default.conv")
    weight_image: bool = option(True, doc="A weight image is the next input.")
    flag_image: bool = option(
        True, doc="A flag image is the next input; without one there is no IMAFLAGS_ISO."
    )
    psf_file: bool = option(False, doc="A PSFEx model for model fits is the next input.")
    detection_image: bool = option(False, doc="An image to detect on is the next input.")
    detection_weight: bool = option(
        False, doc="A weight image for the detection image is the next input."
    )
    zp_from_header: bool = option(False, doc="Take the magnitude zero point from the image header.")
    zp_key: str = option("PHOTZP", doc="Card with the zero point.")
    bkg_from_header: bool = option(False, doc="Take a constant background from the image header.")
    bkg_key: str = option("IMMODE", doc="Card with the background.")
    checkimage: list[str] = option(
        [], doc="Check images to keep, by their SExtractor names, such as BACKGROUND."
    )
    make_weight: bool = option(
        False,
        doc="Write weight<number>.fits, 1 / BACKGROUND_RMS^2, for images that come without one.",
    )
    noise_reach: int = option(
        0, at_least=0, at_most=5, unit="pixel",
        doc="MAKE_WEIGHT: how far the noise is correlated in resampled images (bilinear: 1). The "
        "weight is lowered, by one factor for the image, to the noise of sums of pixels.",
    )  # fmt: skip
    prefix: str = option("", aliases=("SUFFIX",), doc="Put before the names of the products.")

    make_post_process: bool = option(
        False,
        doc="The image is a stack: add a table EPOCH_<i> for each exposure that its HISTORY cards "
        "name, with the CCD that sees each object, and the column N_EPOCH.",
    )
    log_wcs: ProductFile | None = option(
        None, doc="Table of merge_headers_runner with the WCS of the exposures of a stack."
    )
    world_position: list[str] = option(
        ["XWIN_WORLD", "YWIN_WORLD"], doc="Columns with the position of an object on the sky."
    )
    ccd_size: list[float] = option(
        [33, 2080, 1, 4612],
        unit="pixel",
        doc="Part of a CCD that counts, X_MIN, X_MAX, Y_MIN, Y_MAX, counted from 0; an object is "
        "on the CCD when it lies strictly inside.",
    )
    exp_pattern: str = option(
        sightings.EXPOSURE_NAME,
        doc="How HISTORY cards name an exposure: a regular expression, with the name in a group.",
    )

    @field_validator("ccd_size")
    @classmethod
    def _four_limits(cls, limits):
        if len(limits) != 4 or not (limits[0] < limits[1] and limits[2] < limits[3]):
            raise ValueError(f"{limits} are no limits (allowed: X_MIN, X_MAX, Y_MIN, Y_MAX)")
        return limits

    @field_validator("exp_pattern")
    @classmethod
    def _expression(cls, pattern):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _exposures_are_known(self):
        if self.make_post_process and not self.log_wcs:
            raise ValueError("MAKE_POST_PROCESS = True needs LOG_WCS")
        if self.make_post_process and len(self.world_position) != 2:
            raise ValueError(f"WORLD_POSITION names {len(self.world_position)} columns, not two")
        return self

    def product(self, name: str) -> str:
        """File name of a product, before the number."""
        return f"{self.prefix}_{name}" if self.prefix else name


def _check_patterns(opts):
    return [opts.product(_check_name(kind)) for kind in _checks(opts)]


def _checks(opts):
    return [kind.upper() for kind in opts.checkimage if kind and kind.upper() != "NONE"]


def _kinds_written(opts):
    """Check images that SExtractor is asked for: those to keep, and those that weights need."""
    more = ["BACKGROUND_RMS", *(["-OBJECTS"] * (opts.noise_reach > 0))] if opts.make_weight else []
    return list(dict.fromkeys([*_checks(opts), *more]))


def _check_name(kind):
    return kind.lower().replace("-", "minus_")


@runner(
    inputs=[
        Input("image", doc="Image to measure on, in the primary HDU."),
        Input("weight", when=lambda o: o.weight_image, doc="Its weight, see WEIGHT_TYPE."),
        Input("flag", "pipeline_flag", when=lambda o: o.flag_image, doc="Its flags."),
        Input("psf", "star_selection", ext=".psf", when=lambda o: o.psf_file, doc="PSFEx model."),
        Input("detection_image", when=lambda o: o.detection_image, doc="Image to detect on."),
        Input("detection_weight", when=lambda o: o.detection_weight, doc="Its weight."),
    ],
    outputs=[
        Output("catalogue", lambda o: o.product("sexcat"), doc="FITS_LDAC catalogue."),
        Output("checks", _check_patterns, when=lambda o: bool(_checks(o)), doc="Check images."),
        Output("noise_weight", lambda o: o.product("weight"), when=lambda o: o.make_weight,
               doc="Weight image, the inverse variance of the background."),
    ],
    after=["split_exp_runner", "mask_runner"],
    programs=[
        Program("sex", ("source-extractor", "sextractor"), option="exec_path"),
    ],
    aliases=("sextractor_runner_exp",),
)  # fmt: skip
def sextractor_runner(job, opts: SExtractorOptions):
    """Run SExtractor on one image, with one thread, and take the dates out of its catalogue."""
    try:
        job.call("sex", _arguments(job, opts))
    except ProgramFailed:
        _blame_input(job)
        raise
    return _keep(job, opts)


def _arguments(job, opts):
    """Command line, with inputs under plain names: SExtractor splits paths at blanks and commas."""
    here = {role: _link(job, role, path) for role, path in job.inputs.items()}
    words = [",".join(here[role] for role in ("detection_image", "image") if role in here)]
    words += ["-c", _link(job, "default.sex", opts.dot_sex_file)]
    words += ["-PARAMETERS_NAME", _parameters(job, opts, here)]
    words += ["-FILTER_NAME", _link(job, "default.conv", opts.dot_conv_file)]
    words += ["-CATALOG_TYPE", "FITS_LDAC", "-CATALOG_NAME", "catalogue"]
    words += ["-VERBOSE_TYPE", "QUIET", "-NTHREADS", "1", "-WRITE_XML", "N"]
    settings = dotfiles.read_dotfile(opts.dot_sex_file)
    words += _weights(here, settings) + _neighbour_files(job, opts, settings)
    if "flag" in here:
        words += ["-FLAG_IMAGE", here["flag"]]
    if "psf" in here:
        words += ["-PSF_NAME", here["psf"]]
    if opts.zp_from_header:
        words += ["-MAG_ZEROPOINT", _card(job.inputs["image"], opts.zp_key, "ZP_KEY")]
    if opts.bkg_from_header:
        level = _card(job.inputs["image"], opts.bkg_key, "BKG_KEY")
        words += ["-BACK_TYPE", "MANUAL", "-BACK_VALUE", level]
    kinds = _kinds_written(opts)
    words += ["-CHECKIMAGE_TYPE", ",".join(kinds) or "NONE"]
    return words + (["-CHECKIMAGE_NAME", ",".join(map(_check_name, kinds))] if kinds else [])


def _parameters(job, opts, here):
    """File of columns; those made of flags are left out where there is no flag image."""
    lines = opts.dot_param_file.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.strip().startswith(_FLAG_COLUMNS)]
    if "flag" in here or len(kept) == len(lines):
        return _link(job, "default.param", opts.dot_param_file)
    job.log.warning("no flag image: IMAFLAGS_ISO and NIMAFLAGS_ISO are left out")
    (job.scratch / "default.param").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return "default.param"


def _link(job, name, path):
    (job.scratch / name).symlink_to(Path(path).absolute())
    return name


def _weights(here, settings):
    """Weight maps for detection and measurement, of the kind that the .sex file names."""
    measure = here.get("weight")
    detect = here.get("detection_weight", measure)
    if not (measure or detect):
        return ["-WEIGHT_TYPE", "NONE"]
    kinds = [kind for kind in settings.get("WEIGHT_TYPE", "").upper().split(",") if kind]
    kind = next((kind for kind in kinds if kind not in ("NONE", "BACKGROUND")), "MAP_WEIGHT")
    if "detection_image" not in here:
        return ["-WEIGHT_TYPE", kind, "-WEIGHT_IMAGE", measure or detect]
    both = f"{kind},{kind if measure else 'NONE'}"
    return ["-WEIGHT_TYPE", both, "-WEIGHT_IMAGE", f"{detect},{measure or detect}"]


def _neighbour_files(job, opts, settings):
    """Files named in the .sex file that stand beside it: SExtractor runs in another directory."""
    words = []
    for key in ("STARNNW_NAME", "ASSOC_NAME"):
        beside = opts.dot_sex_file.parent / settings.get(key, "")
        if settings.get(key) and beside.is_file():
            words += [f"-{key}", _link(job, key.lower(), beside)]
    return words


def _card(image, key, named_by):
    """Number from the header of the image, as text."""
    header = fits.read_header(image, 0)
    try:
        return repr(float(header[key]))
    except KeyError:
        raise BadInput(image, f"HDU 0 has no card {key} ({named_by})") from None
    except (TypeError, ValueError):
        raise BadInput(image, f"HDU 0: {key} = {header[key]!r} is not a number") from None


def _keep(job, opts):
    """Judge the catalogue and move what SExtractor wrote to the names of the products."""
    written = job.scratch / "catalogue"
    n_sources = ldac.count(written)
    if n_sources == 0:
        _blame_input(job)
        raise NoUsableData(f"SExtractor found no source in {job.inputs['image'].name}")
    _check_columns(job, opts, written)
    undated.forget_dates(written)
    metrics = {"n_sources": n_sources}
    if opts.make_post_process:
        metrics |= _add_epochs(job, opts, written)
    else:
        written.rename(job.output("catalogue"))
    if opts.make_weight:
        metrics |= _make_weight(job, opts)
    for kind in _checks(opts):
        pattern = opts.product(_check_name(kind))
        (job.scratch / _check_name(kind)).rename(job.output("checks", pattern=pattern))
    return metrics


def _make_weight(job, opts):
    """Write the inverse variance of the sky; gives figures."""
    noise, header = fits.read(job.scratch / _check_name("BACKGROUND_RMS"))
    weight, factor = skynoise.inverse_variance(noise), 1.0
    if opts.noise_reach:
        sky = fits.read_image(job.scratch / _check_name("-OBJECTS"))
        flag = fits.read_image(job.inputs["flag"]) if "flag" in job.inputs else None
        factor = skynoise.variance_factor(sky, skynoise.sky_pixels(sky, flag), opts.noise_reach)
        if not np.isfinite(factor):
            raise NoUsableData(f"no pixel of {job.inputs['image'].name} shows the sky alone")
        job.log.info("correlated noise: weights are divided by %.3f", factor)
    fits.write_image(job.output("noise_weight"), weight / np.float32(factor), header)
    return {"sky_noise": float(np.median(noise)), "noise_factor": factor}


def _add_epochs(job, opts, written):
    """Write the catalogue with its EPOCH tables and N_EPOCH; gives figures."""
    image = job.inputs["image"]
    names = sightings.exposure_names(ldac.read_header(written), opts.exp_pattern)
    if not names:
        raise BadInput(image, f"no HISTORY card names an exposure (EXP_PATTERN {opts.exp_pattern})",
                       "cards such as 'input image 2366993p.fits 40 extension(s)'")  # fmt: skip
    known = epochs.read_wcs(opts.log_wcs, names)
    unknown = [name for name in names if name not in known]
    if len(unknown) == len(names):
        raise BadInput(opts.log_wcs, f"has none of the exposures of {image.name}: {unknown}")
    for name in unknown:
        job.log.warning("exposure %s is not in %s: nothing is seen by it", name, opts.log_wcs)
    table = ldac.read(written)
    ldac.check_columns(written, table.colnames, ["NUMBER", *opts.world_position])
    ra, dec = (np.asarray(table[name]) for name in opts.world_position)
    exposures = {name: known.get(name, []) for name in names}
    ccds = sightings.find_ccds(ra, dec, exposures, sightings.Frame(*opts.ccd_size))
    table["N_EPOCH"] = sightings.count_epochs(ccds, len(table))
    table["N_EPOCH"].description = "number of exposures that see the object"
    further = sightings.epoch_tables(table["NUMBER"], ccds)
    ldac.write(job.output("catalogue"), table, header_of=written, extra=further)
    return {"n_exposures": len(names), "n_exposures_unknown": len(unknown),
            "n_without_epoch": int((table["N_EPOCH"] == 0).sum())}  # fmt: skip


def _blame_input(job):
    """Tell whether the images explain why there are no sources: packed, NaN, or of no weight."""
    for role, path in job.inputs.items():
        if role != "psf" and fits.is_packed(path):
            raise BadInput(path, "is packed, which SExtractor cannot read",
                           "a plain FITS file, as from uncompress_fits_runner")  # fmt: skip
    fits.read_image(job.inputs["image"])
    for role in ("weight", "detection_weight"):
        if role in job.inputs and not np.any(fits.read_image(job.inputs[role]) > 0):
            raise NoUsableData(f"no pixel has a weight above 0 in {job.inputs[role].name}")


def _check_columns(job, opts, written):
    """Refuse names that SExtractor did not know and passed over with a warning."""
    lines = (job.scratch / "default.param").read_text(encoding="utf-8").splitlines()
    wanted = [re.split(r"[\s(#]", line.strip(), maxsplit=1)[0] for line in lines]
    there = ldac.read_columns(written)
    unknown = [name for name in wanted if name and name not in there]
    if unknown:
        raise BadInput(opts.dot_param_file, f"SExtractor knows no column {', '.join(unknown)}")
