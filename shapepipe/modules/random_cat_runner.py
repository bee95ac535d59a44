"""Random positions on the unmasked parts of an image, and a map of what is covered.

Algorithm
---------
Pixels without flag are drawn with equal probability, and a place within the pixel uniformly. The
map of coverage looks up the mask at equal places of every HEALPix pixel, at most 2 arcsec apart.

References
----------
Gorski et al. 2005, ApJ 622, 759 (HEALPix); documentation of healsparse.
"""

import numpy as np
from astropy.table import Table
from pydantic import field_validator

from shapepipe import BadInput, Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import coverage, fits, flags, ldac, wcs

MEANING = {
    "RA": ("deg", "right ascension"),
    "DEC": ("deg", "declination"),
    "x": ("pix", "position along columns, first pixel is 1"),
    "y": ("pix", "position along rows, first pixel is 1"),
    "TILE_ID": ("", "number of the image"),
}


class RandomCatOptions(Options):
    """How many positions, and which map."""

    n_random: float = option(
        above=0, doc="Number of positions; with DENSITY = True, per square degree without mask."
    )
    density: bool = option(False, doc="N_RANDOM is a density.")
    save_mask_as_healpix: bool = option(
        False, doc="Write a healsparse map of the covered fraction of the sky."
    )
    healpix_out_file_base: str = option("coverage", doc="Name of the map before the number.")
    healpix_out_nside: int = option(
        4096, at_least=1, doc="Resolution of the map, a power of 2; 4096 is 0.86 arcmin."
    )
    output_file_pattern: str = option("random_cat", doc="Name of the table before the number.")

    @field_validator("healpix_out_nside")
    @classmethod
    def _power_of_two(cls, nside):
        if nside & (nside - 1):
            raise ValueError(f"{nside} is not a power of 2")
        return nside


@runner(
    inputs=[
        Input("image", doc="Image, for its sky coordinates."),
        Input("flag", "pipeline_flag", doc="Flag image; good pixels are 0."),
    ],
    outputs=[
        Output("randoms", lambda o: o.output_file_pattern, doc="RA, DEC, x, y, TILE_ID."),
        Output("coverage", lambda o: o.healpix_out_file_base, ext=".hsp",
               when=lambda o: o.save_mask_as_healpix, doc="healsparse map, float32."),
    ],
    after=["mask_runner"],
    packages=["healsparse"],
)  # fmt: skip
def random_cat_runner(job, opts: RandomCatOptions):
    """Draw positions uniformly over the good pixels."""
    path = job.inputs["flag"]
    mask = flags.integer_flags(fits.read_image(path), path)
    header = fits.read_header(job.inputs["image"])
    shape = (header.get("NAXIS2"), header.get("NAXIS1"))
    if mask.shape != shape:
        raise BadInput(path, f"has {mask.shape} pixels", f"{shape}, as the image")
    solution = wcs.from_header(header, job.inputs["image"])
    total, good = coverage.areas(mask, solution)
    if good == 0:
        raise NoUsableData(f"every pixel of {path.name} is masked")
    count = round(opts.n_random * good) if opts.density else round(opts.n_random)
    x, y = coverage.random_places(mask, count, job.rng)
    ra, dec = wcs.pixel_to_world(solution, x, y)
    tile = job.number.strip("-_").replace("-", ".") or "?"
    table = Table([ra, dec, x + 1, y + 1, np.full(count, tile)], names=list(MEANING))
    for name, (unit, text) in MEANING.items():
        table[name].unit, table[name].description = unit or None, text
    table.meta |= {"AREA": total, "AREAGOOD": good}
    ldac.write_plain(job.output("randoms"), table, "RANDOMS")
    if opts.save_mask_as_healpix:
        made = coverage.covered_fraction(mask, solution, opts.healpix_out_nside)
        made.write(str(job.output("coverage")), nocompress=True)  # gzip would note the time
    job.log.info("area %.6f deg2, without mask %.6f, ratio %.4f", total, good, good / total)
    return {"n_random": count, "area": total, "area_good": good, "good_ratio": good / total}
