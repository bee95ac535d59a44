"""Time one CCD's masks, against WeightWatcher on the same polygons in the same run.

    python scripts/bench.d/masks.py [N_STARS]

A frame of 2112 x 4644 pixels, stars of magnitude 8 to 18 with halos and spikes. WeightWatcher gets
the polygons ready made, and the weight on disk; our figure for the same task is the runner as a
whole: read image, weight and catalogue, find the stars, draw, write.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.astro import deepsky, flagimage, masks, polygons, starcat
from shapepipe.astro.flags import MaskBit
from shapepipe.astro.vicinity import Vicinity
from shapepipe.modules.mask_runner import DATA, mask_runner
from shapepipe.testing import trial

SHAPE = (4644, 2112)
MASKS = "".join(
    f"[{name}_PARAMETERS]\n{name}_MAKE = True\n"
    for name in ("BORDER", "HALO", "SPIKE", "MESSIER", "NGC")
)


def main(n_stars: int = 200):
    """Print one line of JSON for each figure."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        case = prepare(folder, n_stars)
        recipe = make_recipe()
        show("draw polygons alone", best(lambda: draw(case, recipe)))
        show("compose, five kinds of masks", best(lambda: compose(case, recipe)))
        tracemalloc.start()
        compose(case, recipe)
        show("compose, scratch and result", tracemalloc.get_traced_memory()[1] / 2**20, "MB")
        tracemalloc.stop()
        show("mask_runner with files", best(lambda: run(folder)))
        program = next(filter(shutil.which, ("ww", "weightwatcher", "WeightWatcher")), None)
        if program:
            write_regions(folder, case, recipe)
            show("WeightWatcher, same polygons", best(lambda: weightwatcher(folder, program)))


def show(name, value, unit="s"):
    """Print a figure."""
    print(json.dumps({"what": name, "value": round(value, 4), "unit": unit}))  # noqa: T201


def best(function, times=5):
    """Shortest of several wall times."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def prepare(folder, n_stars):
    """Make the files of one CCD; return what `compose` needs."""
    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [210, 54], [1000, 2300]
    wcs.wcs.cdelt = [-0.186 / 3600, 0.186 / 3600]
    image, weight = rng.normal(0, 5, SHAPE).astype("f4"), np.ones(SHAPE, "f4")
    weight[:, :32] = 0
    fits.writeto(folder / "image-1-0.fits", image, wcs.to_header())
    fits.writeto(folder / "weight-1-0.fits", weight)
    ra, dec = wcs.all_pix2world(
        rng.uniform(-100, 2212, n_stars), rng.uniform(-100, 4744, n_stars), 0
    )
    mag = rng.uniform(8, 18, n_stars)
    Table({"ra": ra, "dec": dec, "mag": mag}).write(folder / "stars.fits")
    (folder / "config.mask").write_text(MASKS)
    return image, weight, Vicinity(wcs, SHAPE), starcat.read(folder / "stars.fits")


def make_recipe():
    """The masks of CFIS exposures."""
    halo = masks.StarMark(masks.read_outline(DATA / "halo.reg"), 13.0, 0.05, 13.8, MaskBit.HALO)
    spike = masks.StarMark(masks.read_outline(DATA / "spike.reg"), 18.0, 0.3, 13.8, MaskBit.SPIKE)
    catalogues = {"MESSIER": "messier.ecsv", "NGC": "ngc.fits"}
    return flagimage.Recipe(
        border=(50, int(MaskBit.BORDER)),
        marks={"HALO": halo, "SPIKE": spike},
        circles={
            name: flagimage.Circles(deepsky.read(DATA / file), 0.0, int(MaskBit[name]))
            for name, file in catalogues.items()
        },
    )


def draw(case, recipe):
    """Stars to flags, without input and output."""
    flags = np.zeros(SHAPE, np.int16)
    x, y, mag = masks.place_stars(case[3], case[2], list(recipe.marks.values()))
    for mark in recipe.marks.values():
        polygons.burn(flags, int(mark.bit), mark.around(x, y, mag))


def compose(case, recipe):
    """All masks, without input and output."""
    image, weight, vicinity, stars = case
    return flagimage.compose(recipe, image, weight, None, Vicinity(vicinity.wcs, SHAPE), stars)


def run(folder):
    """The module on files."""
    inputs = {role: folder / f"{role}-1-0.fits" for role in ("image", "weight")}
    options = {"MASK_CONFIG_PATH": str(folder / "config.mask"),
               "STAR_CATALOGUE": str(folder / "stars.fits")}  # fmt: skip
    shutil.rmtree(folder / "output", ignore_errors=True)
    outcome = trial(mask_runner, inputs, options, "-1-0", folder)
    assert outcome.status == "ok", outcome.error


def write_regions(folder, case, recipe):
    """Polygons and configuration as WeightWatcher reads them."""
    x, y, mag = masks.place_stars(case[3], case[2], list(recipe.marks.values()))
    for name, mark in recipe.marks.items():
        lines = polygons.region_text(mark.around(x, y, mag)).splitlines()[1:]
        (folder / f"{name}.reg").write_text(
            "\n".join(["image", *(line.removeprefix("image;") for line in lines)]) + "\n"
        )
    (folder / "ww.conf").write_text(
        "WEIGHT_NAMES weight-1-0.fits\nWEIGHT_MIN 0\nWEIGHT_MAX 1000\nWEIGHT_OUTFLAGS 1\n"
        'FLAG_NAMES ""\nPOLY_NAMES HALO.reg,SPIKE.reg\nPOLY_OUTFLAGS 2,128\n'
        'OUTFLAG_NAME ww.fits\nOUTWEIGHT_NAME ""\nWRITE_XML N\nVERBOSE_TYPE QUIET\n'
    )


def weightwatcher(folder, program):
    """One call of WeightWatcher."""
    subprocess.run([program, "-c", "ww.conf"], cwd=folder, check=True)


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:]))
