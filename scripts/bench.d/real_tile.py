"""What came out of a run of sdss_tile.ini or vircam_tile.ini: accounts, shapes, PSF of the stack.

    python scripts/bench.d/real_tile.py RUN_DIRECTORY [FIGURE.png]

Counts every detection by its flags, repeats the chi-square of shapes from disjoint halves of the
epochs, compares stars on the stack with the PSF model of the stack and with the sum of the PSFs of
the epochs, and positions of the same stars between epochs.
"""

import json
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from figures import tell
from matplotlib.figure import Figure
from real_exposures import residuals

from shapepipe.astro import (
    epochs,
    finalcat,
    jacobians,
    ldac,
    moments,
    psfresiduals,
    spread,
    stampstore,
    wcs,
)
from shapepipe.shear import ShapeFlag

BRIGHT = 50, 100, 150
"""Limits of signal-to-noise ratio from which stars are summarised."""


def main(run: str, figure: str | None = None):
    """Print one line of JSON for each part."""
    folder = Path(run)
    tell({"what": "objects"} | account(folder))
    agreement = json.loads(product(folder, "shape_agreement_runner", "*.json").read_text())
    bins = agreement.pop("bins")
    tell({"what": "halves"} | agreement)
    for part in bins:
        tell({"what": "halves, by signal-to-noise ratio"} | part)
    stars = stars_of_stack(folder)
    for least in (0, *BRIGHT):
        bright = stars["snr"] >= least
        for kind in ("stack", "epochs"):
            title = f"stars on the stack, S/N >= {least}, PSF of the {kind}"
            tell({"what": title} | compare(stars[bright], kind))
    tell({"what": "astrometry between epochs"} | astrometry(folder))
    if figure:
        draw(stars, figure)


def product(folder, step, pattern):
    """The one product of a step that matches."""
    (found,) = (folder / step / "output").glob(pattern)
    return found


def account(folder):
    """How many objects there are, and how many bear each flag, by name."""
    detected = ldac.read(product(folder, "sextractor_runner_run_2", "sexcat*"), columns=["NUMBER"])
    final = Table.read(product(folder, "make_cat_runner", "final_cat*"), "RESULTS")
    same = np.array_equal(detected["NUMBER"], final["NUMBER"])
    made = {"n_detected": len(detected), "n_final": len(final), "same_numbers": bool(same)}
    flags = np.asarray(final["NGMIX_FLAGS_NOSHEAR"])
    named = {flag.name: flag.value for flag in ShapeFlag} | {"NOTMEAS": finalcat.NOT_MEASURED}
    made |= {"shape good": int((flags == 0).sum())}
    made |= {f"shape {n}": int(((flags & bit) != 0).sum()) for n, bit in named.items()
             if ((flags & bit) != 0).any()}  # fmt: skip
    flags = np.asarray(final["SPREAD_FLAG"])
    made |= {f"spread {flag.name}": int(((flags & flag.value) != 0).sum())
             for flag in spread.SpreadFlag if ((flags & flag.value) != 0).any()}  # fmt: skip
    for name in ("N_EPOCH", "SPREAD_CLASS"):
        values, counts = np.unique(np.asarray(final[name]), return_counts=True)
        made[name] = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    made["FLAGS > 0"] = int((np.asarray(final["FLAGS"]) > 0).sum())
    made["IMAFLAGS_ISO > 0"] = int((np.asarray(final["IMAFLAGS_ISO"]) > 0).sum())
    return made


def stars_of_stack(folder):
    """Shapes of the stars on the stack, and of both kinds of PSF there, sizes in arcsec."""
    path = product(folder, "psf_interp_runner_run_2", "validation_psf*")
    stars = ldac.read(path)
    catalogue = product(folder, "sextractor_runner_run_2", "sexcat*")
    stack = wcs.from_header(ldac.read_header(catalogue), catalogue)
    pixel = np.sqrt(abs(np.linalg.det(sky_frame(stack, stack))))
    flag = np.asarray(stars["FLAG_PSF_HSM"]) | np.asarray(stars["FLAG_STAR_HSM"])
    made = Table({"snr": np.asarray(stars["SNR"]), "flag": flag})
    for mine, theirs in (("star", "STAR"), ("stack", "PSF")):
        for axis in "12":
            made[f"g{axis}_{mine}"] = stars[f"E{axis}_{theirs}_HSM"]
        made[f"sigma_{mine}"] = np.asarray(stars[f"SIGMA_{theirs}_HSM"]) * pixel
    found = np.array(list(epochs_psf(folder, np.asarray(stars["NUMBER"]), stack)))
    for i, name in enumerate(("g1_epochs", "g2_epochs", "sigma_epochs")):
        made[name] = found[:, i]
    made["flag"] |= ~np.isfinite(found).all(axis=1)
    return made[np.asarray(made["flag"]) == 0]


def epochs_psf(folder, numbers, stack):
    """g1, g2 and sigma (arcsec) of the weighted sum of the PSFs of the epochs of some objects."""
    log = product(folder, "merge_headers_runner", "*.sqlite")
    stores = [stampstore.read_stamps(product(folder, step, pattern)) for step, pattern in (
        ("psf_interp_runner_run_3", "galaxy_psf*"),
        ("vignetmaker_runner_run_2", "weight_vignet*"))]  # fmt: skip
    wanted, found = set(numbers.tolist()), {}
    solutions, scales = None, None
    for (number, psfs), (_, weights) in zip(*stores, strict=True):
        if number not in wanted or not psfs:
            continue
        if solutions is None:
            names = {label.rpartition("-")[0] for label in psfs}
            solutions, scales = epochs.read_wcs(log, names), epochs.read_flux_scales(log, names)
        stamps, shares, frames = [], [], []
        for label, entry in psfs.items():
            exposure, _, ccd = label.rpartition("-")
            solution = solutions[exposure][int(ccd)]
            step = spread.orientation(solution, stack, *stack.wcs.crval)
            stamps.append(spread.turn(entry["VIGNET"], step))
            weight = np.mean(weights[label]["VIGNET"], dtype=float)
            shares.append(weight / scales[exposure, int(ccd)] ** 2)
            frames.append(sky_frame(solution, stack) @ np.linalg.inv(step))
        shape = moments.measure(spread.stacked_psf(stamps, shares)[None])
        found[number] = on_the_sky(shape, np.average(frames, axis=0, weights=shares))
    for number in numbers:
        yield found.get(int(number), (np.nan,) * 3)


def sky_frame(solution, stack):
    """Arcsec per pixel of an image in the middle of the stack: columns along the stack's axes."""
    x, y = wcs.world_to_pixel(solution, *(np.array([value]) for value in stack.wcs.crval))
    return jacobians.local_jacobians(solution, x, y)[0]


def on_the_sky(shape, frame):
    """g1, g2 and sigma (arcsec) of moments in pixels: those have a shear of their own."""
    g1, g2 = shape.g1[0], shape.g2[0]
    square = g1**2 + g2**2
    matrix = np.array([[1 + 2 * g1 + square, 2 * g2], [2 * g2, 1 - 2 * g1 + square]]) / (1 - square)
    matrix = frame @ (shape.sigma[0] ** 2 * matrix) @ frame.T
    size = np.sqrt(np.linalg.det(matrix))
    total = np.trace(matrix) + 2 * size
    return (matrix[0, 0] - matrix[1, 1]) / total, 2 * matrix[0, 1] / total, np.sqrt(size)


def compare(stars, kind):
    """Star minus model."""
    g = [np.stack([stars[f"g1_{name}"], stars[f"g2_{name}"]], axis=1) for name in ("star", kind)]
    return residuals(*g, stars["sigma_star"], stars[f"sigma_{kind}"])


def astrometry(folder):
    """Largest median offset and median scatter of stars between epochs, arcsec, per axis."""
    paths = sorted((folder / "setools_runner_run_1" / "output" / "mask").glob("star_selection*"))
    places = [np.array([ldac.read(p)[f"{axis}WIN_WORLD"] for axis in "XY"]) for p in paths]
    offsets, scatters, counts = [], [], []
    for i, one in enumerate(places):
        for other in places[i + 1 :]:
            d = (one[:, :, None] - other[:, None]) * 3600
            d[0] *= np.cos(np.radians(one[1].mean()))
            near = np.hypot(*d) < 0.5
            counts.append(int(near.sum()))
            offsets.append([np.median(axis[near]) for axis in d])
            scatters.append([psfresiduals.MAD_TO_SIGMA * np.median(np.abs(axis[near] - median))
                             for axis, median in zip(d, offsets[-1], strict=True)])  # fmt: skip
    return {"largest_offset": float(np.abs(offsets).max()),
            "rms_offset": float(np.sqrt(np.mean(np.square(offsets)))),
            "median_scatter": float(np.median(scatters)), "fewest_stars": min(counts)}  # fmt: skip


def draw(stars, path):
    """Ellipticity and size of the stars on the stack, less those of either PSF."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    titles = ("g1, star - PSF", "g2, star - PSF", "1 - size$^2$ of PSF / star")
    for i, (axes, title) in enumerate(zip(figure.subplots(1, 3), titles, strict=True)):
        for kind, colour in (("stack", "0.55"), ("epochs", "C3")):
            if i < 2:
                values = stars[f"g{i + 1}_star"] - stars[f"g{i + 1}_{kind}"]
            else:
                values = 1 - np.square(stars[f"sigma_{kind}"] / stars["sigma_star"])
            label = "model of the stack" if kind == "stack" else "sum of the epochs"
            axes.plot(stars["snr"], values, "o", ms=3, color=colour, label=label)
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set(xscale="log", xlabel="signal-to-noise ratio", ylabel=title,
                 ylim=(-0.12, 0.12) if i < 2 else (-0.3, 0.3))  # fmt: skip
    axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
