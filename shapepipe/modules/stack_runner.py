"""Stacks (tiles) of exposures, made by SWarp; their headers name what went in.

Algorithm
---------
SWarp takes the sky off each CCD, resamples the CCDs to the pixels of the stack, and combines them
with their weights, flagged pixels left out, and their flux scales.

References
----------
Bertin et al. 2002, ASP Conf. Ser. 281, 228 (SWarp).
"""

from typing import Literal

from shapepipe import (
    Address,
    BadInput,
    Input,
    InputFile,
    Options,
    Output,
    Program,
    ProgramFailed,
    option,
    runner,
)
from shapepipe.astro import dotfiles, epochs, fits, retrieval, stacking, tiling


class StackOptions(Options):
    """Which images are stacked, and where the stack lies."""

    exec_path: str = option("SWarp", doc="Name or path of SWarp.")
    image_dir: Address = option(
        doc="Where the images of the CCDs are, and their weights and flags."
    )
    image_pattern: str = option("image", doc="Name of the images before -exposure-ccd.fits.")
    weight_pattern: str = option(
        "weight", doc="Name of the weights, inverse variances; blank: there are none."
    )
    flag_pattern: str = option(
        "", doc="Name of the flags: pixels that bear any are left out; blank: none."
    )
    centre: Literal["exposures", "number"] = option(
        "exposures",
        doc="exposures: the middle of what the exposures cover. number: where the number xxx-yyy "
        "of the tile puts it, Dec = yyy/2 - 90 deg, RA = xxx/2 / cos Dec.",
    )
    size: int | None = option(
        None, at_least=64, unit="pixel", doc="Side of the stack; blank: all that is covered."
    )
    pixel_scale: float | None = option(
        None, above=0, unit="arcsec", doc="Side of a pixel; blank: the median of the images."
    )
    zero_point: float = option(
        30.0, unit="mag",
        doc="Zero point of the counts times FSCALE (card PHOTZP of the stack).",
    )  # fmt: skip
    dot_swarp_file: InputFile | None = option(
        None, doc="SWarp settings (.swarp): combination, background, saturation and so on."
    )
    prefix: str = option("tile", doc="Put before the names of the products.")


@runner(
    inputs=[Input("exposures", "exp_numbers", ext=".txt", doc="Exposures of a tile, one a line.")],
    outputs=[
        Output("image", lambda o: f"{o.prefix}_image", doc="Stack, without its sky."),
        Output("weight", lambda o: f"{o.prefix}_weight", doc="Its weight, inverse variance."),
    ],
    after=["find_exposures_runner"],
    programs=[Program("SWarp", ("swarp",), option="exec_path")],
    aliases=("swarp_runner",),
)
def stack_runner(job, opts: StackOptions):
    """Stack all CCDs of the exposures of a list."""
    names = retrieval.read_ids([job.inputs["exposures"]])
    chosen = _find_ccds(job, opts, names)
    images = _bring(job, opts, [ccd for ccds in chosen.values() for ccd in ccds])
    job.call("SWarp", stacking.arguments(images, _settings(job, opts), "default.swarp"))
    return _keep(job, opts, {name: len(ccds) for name, ccds in chosen.items()})


def _find_ccds(job, opts, names):
    """CCDs of each exposure that have an image; an exposure without any is logged and left out."""
    there = sorted(epochs.find_files(opts.image_dir, opts.image_pattern, ".fits"))
    found = {}
    for name in names:
        number = retrieval.pipeline_name("", name, "").strip(".")
        found[name] = [ccd for ccd in there if ccd[0] == number]
        if not found[name]:
            job.log.warning("exposure %s has no image %s-%s-*.fits: it is left out", name,
                            opts.image_pattern, number)  # fmt: skip
    kept = {name: ccds for name, ccds in found.items() if ccds}
    if not kept:
        raise BadInput(job.inputs["exposures"], f"none of the exposures {names} has an image "
                       f"{opts.image_pattern}-<exposure>-<ccd>.fits in IMAGE_DIR")  # fmt: skip
    return kept


def _bring(job, opts, ccds):
    """Put the images of CCDs into the private directory, weights beside them; gives their names."""
    files = {pattern: epochs.find_files(opts.image_dir, pattern, ".fits")
             for pattern in (opts.image_pattern, opts.weight_pattern, opts.flag_pattern)
             if pattern}  # fmt: skip
    names = []
    for exposure, ccd in ccds:
        for pattern, there in files.items():
            if (exposure, ccd) not in there:
                raise BadInput(f"{pattern}-{exposure}-{ccd}.fits", "is not in IMAGE_DIR")
        own = {pattern: there[exposure, ccd] for pattern, there in files.items()}
        names.append(f"{exposure}-{ccd}.fits")
        (job.scratch / names[-1]).symlink_to(own[opts.image_pattern].absolute())
        _bring_weight(opts, own, job.scratch / f"{exposure}-{ccd}.weight.fits")
    return names


def _bring_weight(opts, own, where):
    """The weight of a CCD, 0 where flagged, where there are weights or flags."""
    weight = own.get(opts.weight_pattern)
    if opts.flag_pattern:
        values = fits.read_image(weight) if weight else None
        flag = fits.read_image(own[opts.flag_pattern])
        fits.write_image(where, stacking.usable_weight(values, flag))
    elif weight:
        where.symlink_to(weight.absolute())


def _settings(job, opts):
    """SWarp settings that the file of settings does not decide; the file is put in place."""
    written = dotfiles.read_dotfile(opts.dot_swarp_file) if opts.dot_swarp_file else {}
    parameters = job.scratch / "default.swarp"
    if opts.dot_swarp_file:
        parameters.symlink_to(opts.dot_swarp_file)
    else:
        parameters.write_text("", encoding="ascii")
    settings = {key: value for key, value in stacking.SETTINGS.items() if key not in written}
    settings |= stacking.outline_settings(_centre(job, opts), opts.size, opts.pixel_scale)
    with_maps = opts.weight_pattern or opts.flag_pattern
    settings["WEIGHT_TYPE"] = "MAP_WEIGHT" if with_maps else "BACKGROUND"
    settings["RESCALE_WEIGHTS"] = "N" if opts.weight_pattern else "Y"
    return settings


def _centre(job, opts):
    """Place that the number of the tile names, or None."""
    if opts.centre == "exposures":
        return None
    try:
        return tiling.tile_centre(job.number.strip("-_").replace("-", "."))
    except ValueError as error:
        raise BadInput(job.inputs["exposures"], f"CENTRE = number: {error}") from None


def _keep(job, opts, counts):
    """Move what SWarp wrote to the names of the products, with cards of our own."""
    written = job.scratch / "coadd.fits"
    if not written.is_file():
        raise ProgramFailed("SWarp", "has left no coadd.fits")
    pixels, header = fits.read(written)
    further = [("PHOTZP", opts.zero_point, "magnitude of one count")]
    cards = stacking.stack_header(header, counts, further)
    fits.write_image(job.output("image"), pixels, cards)
    weight = fits.read_image(job.scratch / "coadd.weight.fits")
    fits.write_image(job.output("weight"), weight, cards)
    covered = float((weight > 0).mean())
    if covered == 0:
        raise BadInput(job.inputs["exposures"], "no pixel of the stack is covered", "exposures "
                       "that touch the tile")  # fmt: skip
    n_ccds = sum(counts.values())
    job.log.info("%d CCDs of %d exposures; %.1f %% covered", n_ccds, len(counts), 100 * covered)
    return {"n_exposures": len(counts), "n_ccds": n_ccds, "covered": covered,
            "width": pixels.shape[1], "height": pixels.shape[0]}  # fmt: skip
