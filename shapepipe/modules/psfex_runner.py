"""Model of the PSF of a CCD, made by PSFEx from a catalogue of its stars.

Algorithm
---------
PSFEx fits one image per monomial of the position to the stamps of the stars of a CCD, each star
weighted by its noise.

References
----------
Bertin 2011, ASP Conf. Ser. 442, 435; manual of PSFEx.
"""

import shutil
from math import comb
from pathlib import PurePath

import numpy as np
from astropy.io import fits as afits

from shapepipe import (
    BadInput,
    Input,
    InputFile,
    NoUsableData,
    Options,
    Output,
    Program,
    option,
    runner,
)
from shapepipe.astro import dotfiles, ldac, starlevels


class PSFExOptions(Options):
    """Program, its configuration, and what it leaves."""

    exec_path: str = option("psfex", doc="Name or path of PSFEx.")
    dot_psfex_file: InputFile = option(
        doc="PSFEx configuration (.psfex).", example="start/default.psfex"
    )
    checkimage: list[str] = option(
        [], doc="Check images to keep, by their PSFEx names, such as RESIDUALS."
    )
    min_stars: int | None = option(
        None,
        at_least=1,
        doc="Fewest accepted stars for a model (outcome: empty); blank takes as many as the "
        "polynomial of the .psfex file has terms.",
    )
    sky_radius: float | None = option(
        None, above=0, unit="pixel",
        doc="Take off each star the median of those pixels of its stamp that are farther than this "
        "from its centre, without outliers: background maps are too high by the light of faint "
        "sources. Blank: trust the background that the stamps come without.",
    )  # fmt: skip


def _stem(opts):
    """Name of the star catalogue before its number: the model is named after it."""
    patterns = opts.file_pattern or ["star_selection"]
    return PurePath(patterns[0]).name


def _checks(opts):
    return [kind.upper() for kind in opts.checkimage if kind and kind.upper() != "NONE"]


def _check_pattern(opts, kind):
    return f"{_stem(opts)}_{kind.lower()}"


@runner(
    inputs=[Input("star_selection", doc="FITS_LDAC catalogue of stars with VIGNET stamps.")],
    outputs=[
        Output("model", _stem, ext=".psf", doc="PSF model: table PSF_DATA."),
        Output("psfex_cat", ext=".cat", doc="What PSFEx made of each star."),
        Output("checks", lambda o: [_check_pattern(o, kind) for kind in _checks(o)],
               when=lambda o: bool(_checks(o)), doc="Check images."),
    ],
    after=["setools_runner"],
    programs=[Program("psfex", option="exec_path")],
)  # fmt: skip
def psfex_runner(job, opts: PSFExOptions):
    """Run PSFEx on the stars of one CCD, with one thread."""
    stars = job.inputs["star_selection"]
    n_stars = ldac.count(stars)
    needed = opts.min_stars or polynomial_terms(opts.dot_psfex_file)
    if n_stars < needed:
        raise NoUsableData(f"{n_stars} stars in {stars.name}, {needed} needed")
    _check_stamps(stars)
    level = _prepare(stars, job.scratch / "stars.fits", opts.sky_radius)
    (job.scratch / "default.psfex").symlink_to(opts.dot_psfex_file)
    job.call("psfex", _arguments(opts))
    return _keep(job, opts, n_stars, needed) | level


def _prepare(stars, target, sky_radius):
    """Hand the stars to PSFEx, levelled if so wished; the mean of what was taken off."""
    if sky_radius is None:
        target.symlink_to(stars.absolute())
        return {}
    shutil.copyfile(stars, target)
    with afits.open(target, mode="update") as hdus:
        tables = (unit for unit in hdus if isinstance(unit, afits.BinTableHDU))
        stamps = next(table for table in tables if "VIGNET" in table.columns.names).data["VIGNET"]
        levels = starlevels.rim_levels(stamps, sky_radius)
        stamps[...] = starlevels.take_off(stamps, levels)
    return {"sky_level": float(levels.mean())}


def _arguments(opts):
    """Command line with plain names, since PSFEx splits paths at blanks and commas."""
    kinds = _checks(opts)
    words = ["stars.fits", "-c", "default.psfex", "-PSF_DIR", ".", "-PSF_SUFFIX", ".psf"]
    words += ["-OUTCAT_TYPE", "FITS_LDAC", "-OUTCAT_NAME", "psfex.cat"]
    words += ["-CHECKPLOT_DEV", "NULL", "-CHECKPLOT_TYPE", "NONE", "-WRITE_XML", "N"]
    words += ["-NTHREADS", "1", "-VERBOSE_TYPE", "NORMAL"]
    words += ["-CHECKIMAGE_TYPE", ",".join(kinds) or "NONE"]
    if not any(kind.startswith("SNAPSHOTS") for kind in kinds):
        # Fits of 81 profiles that nobody sees would take most of the time.
        words += ["-PSFVAR_NSNAP", "1"]
    names = ",".join(f"{kind.lower()}.fits" for kind in kinds)
    return words + (["-CHECKIMAGE_NAME", names] if kinds else [])


def polynomial_terms(dot_psfex_file) -> int:
    """Number of terms of the polynomial with which the PSF of a `.psfex` file changes."""
    settings = dotfiles.read_dotfile(dot_psfex_file)
    groups = settings.get("PSFVAR_GROUPS", "1,1").split(",")
    degrees = settings.get("PSFVAR_DEGREES", "2").split(",")
    terms = 1
    for number, degree in enumerate(degrees, 1):
        members = sum(int(group) == number for group in groups if group.strip())
        terms *= comb(members + int(degree), members)
    return terms


def _keep(job, opts, n_stars, needed):
    """Judge the model and move what PSFEx wrote to the names of the products."""
    model = job.scratch / "stars.psf"
    cards = ldac.read(model, hdu="PSF_DATA").meta
    accepted, chi2 = int(cards["ACCEPTED"]), float(cards["CHI2"])
    if accepted < needed:
        raise NoUsableData(f"PSFEx accepted {accepted} of {n_stars} stars, {needed} needed")
    if not chi2 > 0:
        raise NoUsableData(f"PSFEx left chi2 = {chi2:g} for {accepted} stars: nothing to fit")
    model.rename(job.output("model"))
    (job.scratch / "psfex.cat").rename(job.output("psfex_cat"))
    for kind in _checks(opts):
        written = job.scratch / f"{kind.lower()}_stars.fits"
        written.rename(job.output("checks", pattern=_check_pattern(opts, kind)))
    return {"n_stars": n_stars, "n_accepted": accepted, "chi2": chi2}


def _check_stamps(stars):
    """Refuse stamps with which PSFEx fails obscurely (NaN) or computes for minutes (all masked)."""
    stamps = np.asarray(ldac.read(stars, columns=["VIGNET"])["VIGNET"])
    invalid = int(np.isnan(stamps).any(axis=(1, 2)).sum())
    if invalid:
        raise BadInput(stars, f"VIGNET of {invalid} of {len(stamps)} stars holds NaN", "-1e30")
    if not (stamps > starlevels.MASKED).any():
        raise NoUsableData(f"all pixels of all {len(stamps)} stars in {stars.name} are masked")
