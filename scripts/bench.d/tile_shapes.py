"""Time ngmix_runner on a tile, from stamps on disk to FITS.

    python scripts/bench.d/tile_shapes.py [N_OBJECTS] [--shares 1 2 7]

Three exposures, stamps of 51 x 51 pixels, five stores; the same hundred galaxies are repeated at
other places.  One line of JSON for each figure.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro import ldac, stamps, stampstore
from shapepipe.modules.ngmix_runner import ORDER, join_shares, ngmix_runner
from shapepipe.simulate.stamps import StampSet, draw_stamps, noise_level
from shapepipe.testing import trial

NAMES = ("image", "background", "psf", "weight", "flag")
LABELS = ("2000001-3", "2000002-3", "2000003-17")
DRAWN = 100


def main():
    """Print the figures for each number of shares, and whether all give the same tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=5000)
    parser.add_argument("--shares", type=int, nargs="+", default=[1, 2, 7])
    chosen = parser.parse_args()
    count = chosen.count
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_tile(folder, count)
        measure(folder, folder / "warm", (0, max(1, count // 10)))
        tables = []
        for shares in chosen.shares:
            start = time.process_time()
            parts = [measure(folder, folder / f"{shares}-{k}", (k, shares)) for k in range(shares)]
            join_shares(parts, folder / f"{shares}.fits")
            spent = time.process_time() - start
            show(what="ngmix_runner", shares=shares, objects=count, cpu_s=spent,
                 cpu_s_of_25000=spent * 25000 / count)  # fmt: skip
            show(what="peak memory of the process", shares=shares, MB=peak_memory())
            tables.append([np.asarray(ldac.read(folder / f"{shares}.fits", hdu=kind.upper()))
                           for kind in ORDER])  # fmt: skip
        if len(tables) > 1:
            same = all(a.tobytes() == b.tobytes() for other in tables[1:]
                       for a, b in zip(tables[0], other, strict=True))  # fmt: skip
            show(what="same tables", shares=chosen.shares, value=same)


def peak_memory():
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(**figures):
    """Print one line."""
    print(json.dumps(figures), flush=True)  # noqa: T201


def measure(folder, place, share):
    """One share of the tile; gives the table's path."""
    inputs = {name: folder / f"{name}.sqlite" for name in NAMES}
    inputs["catalogue"] = folder / "sexcat.fits"
    options = {"LOG_WCS": str(folder / "log.sqlite")}
    outcome = trial(ngmix_runner, inputs, options, "-1-1", place, share)
    if outcome.status != "ok":
        raise SystemExit(outcome.error)
    return outcome.products[0]


def write_tile(folder, count):
    """Stores, catalogue and table of WCS."""
    solution = WCS(naxis=2)
    solution.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    solution.wcs.crval, solution.wcs.crpix = (200.0, 45.0), (5000, 5000)
    solution.wcs.cd = np.array([[-1, 0], [0, 1]]) * 0.187 / 3600
    rng = np.random.default_rng(1)
    drawn = draw_stamps(StampSet(seed=1, count=DRAWN))
    sigma = noise_level(drawn["image"], rng.uniform(12, 60, DRAWN))[:, None, None, None]
    image = (drawn["image"] + rng.normal(size=drawn["image"].shape) * sigma).astype(np.float32)
    weight = np.broadcast_to(1 / sigma**2, image.shape).astype(np.float32)
    kinds = {
        "image": image,
        "background": np.zeros_like(image),
        "weight": weight,
        "psf": drawn["psf"].astype(np.float32),
        "flag": np.zeros(image.shape, np.int16),
    }
    size = image.shape[-1]
    x, y = stamps.middle_pixel(rng.uniform(100, 9900, (2, count)))
    shift = drawn["centre"][:, 0] - size // 2
    which = np.arange(count) % DRAWN
    ra, dec = solution.all_pix2world(x + shift[which, 0], y + shift[which, 1], 0)
    for name, values in kinds.items():
        with stampstore.StampWriter(folder / f"{name}.sqlite") as store:
            for i in range(count):
                views = values[which[i]]
                entry = {label: {"VIGNET": views[k].copy()} for k, label in enumerate(LABELS)}
                store.add([(i + 1, entry)])
    table = Table({"NUMBER": np.arange(1, count + 1), "XWIN_WORLD": ra, "YWIN_WORLD": dec})
    ldac.write(folder / "sexcat.fits", table, header=solution.to_header())
    with SqliteDict(folder / "log.sqlite") as log:
        for label in LABELS:
            log[label.split("-")[0]] = np.array([{"WCS": solution, "header": ""}] * 18)
        log.commit()


if __name__ == "__main__":
    main()
