"""What came out of a run of sdss_exposure.ini or vircam_exposure.ini: the PSF of each CCD.

    python scripts/bench.d/real_exposures.py RUN_DIRECTORY [FOLDER_OF_PSFIELD_FILES]

Compares stars with the models of PSFEx and, where the folder is given, these models with those of
the Sloan survey.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from figures import tell

from shapepipe.astro import fits, ldac, moments, psfmodel, psfresiduals

FWHM = 2.3548
"""Of a Gaussian of sigma 1."""
BANDS = "ugriz"


def main(run: str, survey: str | None = None):
    """Print one line of JSON for each CCD, and one for all stars."""
    folder, everything = Path(run), []
    for path in sorted((folder / "psf_interp_runner" / "output").glob("validation_psf*.fits")):
        number = path.stem.removeprefix("validation_psf")
        model = psfmodel.read_psf(
            folder / "psfex_runner" / "output" / f"star_selection{number}.psf"
        )
        stars = ldac.read(path)
        kept = psfresiduals.usable(stars["FLAG_PSF_HSM"], stars["FLAG_STAR_HSM"])
        told = {"ccd": number.strip("-"), "n_selected": len(stars), "chi2": model.chi2}
        told["fwhm_pixels"] = FWHM * float(np.median(stars["SIGMA_PSF_HSM"]))
        everything.append(shapes_of(stars[kept]))
        told |= residuals(*everything[-1])
        if survey:
            told |= second_opinion(folder, number, model, Path(survey))
        tell(told)
    shapes = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    tell({"ccd": "all"} | residuals(*shapes))


def shapes_of(stars):
    """Shapes of stars and PSFs, shape (n, 2), and sizes of both."""
    shapes = [np.stack([stars[f"E1_{kind}_HSM"], stars[f"E2_{kind}_HSM"]], axis=1)
              for kind in ("STAR", "PSF")]  # fmt: skip
    return (*shapes, *(np.asarray(stars[f"SIGMA_{kind}_HSM"]) for kind in ("STAR", "PSF")))


def residuals(g_star, g_psf, sigma_star, sigma_psf):
    """Star minus model: means, and the median of the size, which galaxies among the stars spare."""
    found = psfresiduals.summarise(g_star, g_psf, sigma_star, sigma_psf)
    median = np.median(1 - np.square(np.asarray(sigma_psf) / np.asarray(sigma_star)))
    return found | {"dr2_median": float(median)}


def second_opinion(folder, number, model, survey):
    """The model in the middle of the CCD against that of the survey."""
    image = folder / "split_exp_runner" / "output" / f"image{number}.fits"
    header = fits.read_header(image, 0)
    x, y = (header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2
    (path,) = survey.glob(f"psField-{number.split('-')[1]}-*")
    theirs = moments.measure(survey_psf(path, header["FILTER"].strip(), x, y)[None])
    ours = moments.measure(model.on_pixels().evaluate([x], [y]))
    return {
        "size_over_survey": float(ours.sigma[0] / theirs.sigma[0]),
        "fwhm_survey_pixels": FWHM * float(theirs.sigma[0]),
        "fwhm_middle_pixels": FWHM * float(ours.sigma[0]),
        "g1_less_survey": float(ours.g1[0] - theirs.g1[0]),
        "g2_less_survey": float(ours.g2[0] - theirs.g2[0]),
    }


def survey_psf(path, band, column, row):
    """Image of the PSF of a psField file at a place (0-based pixels).

    Each row of the table of a band holds one image, whose weight is a polynomial in row and column
    over 1000 (documentation of the Sloan survey, "read_PSF"; Lupton et al. 2001, ASPC 238, 269).
    """
    made = 0.0
    for part in Table.read(path, hdu=BANDS.index(band) + 1):
        rows, columns = int(part["nrow_b"]), int(part["ncol_b"])
        powers = np.outer((row / 1000) ** np.arange(rows), (column / 1000) ** np.arange(columns))
        weight = (np.reshape(part["c"], (5, 5))[:rows, :columns] * powers).sum()
        shape = int(part["RNROW"]), int(part["RNCOL"])
        made = made + weight * np.asarray(part["RROWS"], float).reshape(shape)
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
