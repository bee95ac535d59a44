"""CPU time, memory and size of products of the steps of a tile, from PSFs to the final catalogue.

    python scripts/bench.d/tile.py [N_OBJECTS [FOLDER]]

Objects lie at random on three exposures of four CCDs of 2112 x 4644 pixels each, half of them
turned; pixels are noise. Shapes are not measured here.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import epochs, finalcat, ldac, sightings, wcs
from shapepipe.modules.make_cat_runner import make_cat_runner
from shapepipe.modules.psf_interp_runner import psf_interp_runner
from shapepipe.modules.spread_model_runner import spread_model_runner
from shapepipe.modules.vignetmaker_runner import vignetmaker_runner
from shapepipe.testing import trial

NX, NY, STAMP = 2112, 4644, 51
EXPOSURES = ("2366993", "2366994", "2366995")
KINDS = {"image": np.float32, "weight": np.float32, "flag": np.int16, "background": np.float32}
PIXEL = 0.186 / 3600


def main(n_objects: int = 25000, folder: str | None = None):
    """Print one line of JSON for each step."""
    where = Path(tempfile.mkdtemp(dir=folder))
    try:
        prepare(where, n_objects)
        steps(where, n_objects)
    finally:
        shutil.rmtree(where)


def steps(where, n_objects):
    """Run the steps in their order."""
    number, catalogue, log = "-277-282", where / "sexcat.fits", str(where / "log.sqlite")
    out = where / "output"
    total = 0.0

    def step(name, runner, inputs, options, products):
        nonlocal total
        outcome = trial(runner, inputs, options, number, where)
        assert outcome.status == "ok", outcome.error
        total += outcome.cpu
        size = sum((out / f"{product}{number}{ext}").stat().st_size for product, ext in products)
        print(json.dumps({"what": name, "objects": n_objects, "cpu_s": round(outcome.cpu, 1),
                          "wall_s": round(outcome.wall, 1), "memory_MB": outcome.memory >> 20,
                          "products_MB": round(size / 1e6), **outcome.metrics}))  # noqa: T201  # fmt: skip

    step("psf_interp", psf_interp_runner, {"stack": catalogue},
         {"MODE": "MULTI-EPOCH", "ME_DOT_PSF_DIR": str(where), "ME_LOG_WCS": log},
         [("galaxy_psf", ".sqlite")])  # fmt: skip
    step("vignetmaker CLASSIC", vignetmaker_runner,
         {"catalogue": catalogue, "image_1": where / "tile_weight.fits"}, {},
         [("weight_vignet", ".fits")])  # fmt: skip
    step("vignetmaker MULTI-EPOCH", vignetmaker_runner, {"catalogue": catalogue},
         {"MODE": "MULTI-EPOCH", "ME_IMAGE_DIR": str(where), "ME_LOG_WCS": log,
          "ME_IMAGE_PATTERN": ", ".join(KINDS)},
         [(f"{kind}_vignet", ".sqlite") for kind in KINDS])  # fmt: skip
    step("spread_model", spread_model_runner,
         {"catalogue": catalogue, "psf": out / f"galaxy_psf{number}.sqlite",
          "weight": out / f"weight_vignet{number}.fits",
          "epoch_weight": out / f"weight_vignet{number}.sqlite"},
         {"EPOCH_WEIGHTS": "True", "LOG_WCS": log}, [("sexcat_sm", ".fits")])  # fmt: skip
    step("make_cat", make_cat_runner,
         {"catalogue": catalogue, "spread": out / f"sexcat_sm{number}.fits",
          "psf": out / f"galaxy_psf{number}.sqlite", "ngmix": where / "ngmix.fits"},
         {"SAVE_PSF_DATA": "True"}, [("final_cat", ".fits")])  # fmt: skip
    stores = sum(path.stat().st_size for path in out.glob("*.sqlite"))
    print(json.dumps({"what": "sum", "objects": n_objects, "cpu_s": round(total, 1),
                      "stores_MB": round(stores / 1e6)}))  # noqa: T201  # fmt: skip


def prepare(where, n):
    """Catalogue, images, models, WCS and a table of shapes."""
    rng = np.random.default_rng(1)
    stack = sky(0, 0, 1)
    x, y = rng.uniform(-NX, NX, n), rng.uniform(-NY, NY, n)
    ra, dec = wcs.pixel_to_world(stack, x, y)
    images = rng.normal(0, 1, (n, STAMP, STAMP)).astype(np.float32)
    x, y = x + NX + 1, y + NY + 1
    objects = Table({"NUMBER": np.arange(1, n + 1), "MAG_AUTO": rng.uniform(18, 25, n),
                     "X_IMAGE": x, "Y_IMAGE": y, "XWIN_IMAGE": x, "YWIN_IMAGE": y,
                     "XWIN_WORLD": ra, "YWIN_WORLD": dec, "VIGNET": images},
                    copy=False)  # fmt: skip
    for i in range(40):
        objects[f"COLUMN_{i}"] = rng.normal(size=n).astype(np.float32)
    solutions = {name: [sky(*place) for place in layout(k)] for k, name in enumerate(EXPOSURES)}
    with SqliteDict(where / "log.sqlite") as log:
        for name, ccds in solutions.items():
            header = "FSCALE  = 1.1".ljust(80)
            log[name] = np.array([{"WCS": ccd, "header": header} for ccd in ccds])
        log.commit()
    frame = sightings.Frame(33, 2080, 1, 4612)
    seen = sightings.find_ccds(ra, dec, epochs.read_wcs(where / "log.sqlite", EXPOSURES), frame)
    objects["N_EPOCH"] = sightings.count_epochs(seen, n)
    tables = sightings.epoch_tables(objects["NUMBER"], seen)
    ldac.write(where / "sexcat.fits", objects, header=stack.to_header(), extra=tables)
    fits.writeto(where / "tile_weight.fits", np.ones((2 * NY, 2 * NX), np.float32))
    for name in EXPOSURES:
        for ccd in range(4):
            write_model(where / f"star_selection-{name}-{ccd}.psf")
            for kind, dtype in KINDS.items():
                pixels = rng.normal(100, 10, (NY, NX)).astype(dtype)
                fits.writeto(where / f"{kind}-{name}-{ccd}.fits", pixels)
    hdus = [fits.PrimaryHDU()]
    for kind in finalcat.SHEAR_TYPES:
        columns = {name: rng.normal(size=n) for sources, *_ in finalcat.SHAPE_COLUMNS.values()
                   for name in sources if name != "flags"}  # fmt: skip
        table = Table({"id": np.arange(1, n + 1), "flags": np.zeros(n, np.int32), **columns})
        hdus.append(ldac.table_hdu(table, kind))
    fits.HDUList(hdus).writeto(where / "ngmix.fits")


def layout(k):
    """Corner and turn of the CCDs of exposure k; the upper ones are turned by 180 degrees."""
    dither = 40 * k
    return [(-NX + dither, -NY, 1), (dither, -NY, 1), (-NX + dither, 0, -1), (dither, 0, -1)]


def sky(x, y, turn):
    """WCS of an image whose corner is at pixel (x, y) of the sky, turned or not."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = (220.0, 51.0)
    made.wcs.crpix = (1 - x, 1 - y) if turn > 0 else (NX + x, NY + y)
    made.wcs.cd = turn * PIXEL * np.array([[-1, 0], [0, 1]])
    return made


def write_model(path):
    """PSF model of degree 2."""
    rows, columns = np.indices((STAMP, STAMP)) - STAMP // 2
    profile = np.exp(-0.5 * (rows**2 + columns**2) / 3).astype(np.float32)
    basis = np.stack([profile] + [0.01 * profile * (rows + i * columns) for i in range(5)])
    shape = f"({STAMP},{STAMP},6)"
    column = fits.Column("PSF_MASK", f"{basis.size}E", dim=shape, array=basis[None])
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    hdu.header.update({
        "LOADED": 60, "ACCEPTED": 50, "CHI2": 1.0, "POLNAXIS": 2, "POLNGRP": 1,
        "POLNAME1": "XWIN_IMAGE", "POLZERO1": 1000.0, "POLSCAL1": 2000.0,
        "POLNAME2": "YWIN_IMAGE", "POLZERO2": 2000.0, "POLSCAL2": 4000.0, "POLDEG1": 2,
        "PSF_SAMP": 1.0,
    })  # fmt: skip
    hdu.writeto(path)


if __name__ == "__main__":
    main(*(int(sys.argv[1]),) if len(sys.argv) > 1 else (), *sys.argv[2:3])
