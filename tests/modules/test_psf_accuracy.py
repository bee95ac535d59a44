"""The shipped settings of PSFEx and our evaluation of its model, against a PSF that is known."""

from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.table import Table

from shapepipe.astro import ldac, moments, psfmodel
from shapepipe.modules.psfex_runner import psfex_runner
from shapepipe.testing import trial

pytestmark = pytest.mark.programs("psfex")
CONFIG = Path(__file__).parents[2] / "example" / "config"
WIDTH, HEIGHT, SIDE = 2048, 4612, 51


def psf_at(x, y):
    """Sharp on the left, blurred on the right, with an ellipticity that turns along the CCD."""
    u, v = x / WIDTH - 0.5, y / HEIGHT - 0.5
    profile = galsim.Moffat(beta=3.5, fwhm=3.5 * (1 + 0.08 * u + 0.1 * u * v))
    return profile.shear(g1=0.03 + 0.02 * v, g2=-0.02 + 0.04 * u)


def draw(x, y, flux, off_x=0.0, off_y=0.0):
    shape = {"nx": SIDE, "ny": SIDE, "scale": 1.0}
    return psf_at(x, y).withFlux(flux).drawImage(offset=(off_x, off_y), **shape).array


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy")
    rng = np.random.default_rng(5)
    n = 70
    x, y = rng.uniform(20, WIDTH - 20, n), rng.uniform(20, HEIGHT - 20, n)  # from 0
    flux = rng.uniform(5e4, 5e5, n)
    off = x - np.round(x), y - np.round(y)
    stamps = np.array([draw(*star) for star in zip(x, y, flux, *off, strict=True)], "f4")
    stamps += rng.normal(0, 5, stamps.shape).astype("f4")
    table = Table({
        "NUMBER": np.arange(1, n + 1), "XWIN_IMAGE": x + 1, "YWIN_IMAGE": y + 1,
        "FLUX_AUTO": flux.astype("f4"), "FLUXERR_AUTO": np.full(n, 100, "f4"),
        "FLUX_RADIUS": np.full(n, 2.1, "f4"), "ELONGATION": np.ones(n, "f4"),
        "SNR_WIN": (flux / 100).astype("f4"), "FLAGS": np.zeros(n, "i2"), "VIGNET": stamps,
    })  # fmt: skip
    path = folder / "star_selection-2366993-7.fits"
    ldac.write(path, table, header=afits.Header({"SEXBKDEV": 5.0, "SEXGAIN": 0.0}))
    options = {"DOT_PSFEX_FILE": str(CONFIG / "default.psfex")}
    outcome = trial(psfex_runner, {"star_selection": path}, options, "-2366993-7", folder / "run")
    assert outcome.status == "ok", outcome.error
    return psfmodel.read_psf(outcome.products[0])


def test_model_has_size_shape_and_centre_of_the_psf_between_the_stars(model):
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(100, WIDTH - 100, 5),
                                                 np.linspace(100, HEIGHT - 100, 9)))  # fmt: skip
    found = moments.measure(model.on_pixels((SIDE, SIDE)).evaluate(x, y))
    true = moments.measure([draw(*place, 1.0) for place in zip(x, y, strict=True)])
    size = found.sigma**2 / true.sigma**2 - 1
    # the shipped settings with the kernel of PSFEx itself would be off by 0.005
    assert abs(size.mean()) < 1e-3
    assert size.std() < 2e-3
    for component in ("g1", "g2"):
        residual = getattr(found, component) - getattr(true, component)
        assert abs(residual.mean()) < 5e-4
        assert residual.std() < 1e-3
    middle = SIDE // 2
    assert np.abs(found.x - middle).max() < 0.01
    assert np.abs(found.y - middle).max() < 0.01
