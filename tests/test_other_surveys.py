"""The example for images that are not like those of MegaCam, on a small exposure made like them.

Quantised floats packed by Rice, one extension, ZPN coordinates far from their origin, no weights,
no flags; and an exposure of the same night on which there is nothing.
"""

from collections import Counter
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.wcs import WCS

import shapepipe
from shapepipe.astro import ldac
from shapepipe.astro import wcs as sky

pytestmark = pytest.mark.programs("sextractor", "psfex")
EXAMPLES = Path(__file__).parents[1] / "example" / "config"
SIZE, N_STARS, FWHM, SHEAR, NOISE = 460, 36, 2.6, (0.04, -0.03), 40.0
HEADER = afits.Header(
    {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "CRVAL1": 36.484, "CRVAL2": -4.640,
     "CRPIX1": 5274.8, "CRPIX2": -4915.5, "CD1_1": -9.4836e-5, "CD1_2": -1.94e-7,
     "CD2_1": 1.58e-7, "CD2_2": -9.4784e-5, "PV2_1": 1.0, "PV2_2": 0.0, "PV2_3": 44.0,
     "PV2_4": 0.0, "PV2_5": -10300.0, "GAIN": 0.0966, "MAGZPT": 30.0, "EXTNAME": "image_sky"}
)  # fmt: skip


def star_positions():
    """Places in the frame, pixels from 0, with their own fraction of a pixel."""
    rng = np.random.default_rng(5)
    grid = np.linspace(65, SIZE - 65, 6)
    x, y = (axis.ravel() + rng.uniform(-8, 8, N_STARS) for axis in np.meshgrid(grid, grid))
    return x, y


def write_exposure(path, with_stars):
    """An exposure as an archive may give it: sky near 0, 32-bit floats, quantised by Rice."""
    rng = np.random.default_rng(len(path.name) + with_stars)
    image = galsim.ImageF(SIZE, SIZE)
    if with_stars:
        profile = galsim.Moffat(beta=3.5, fwhm=FWHM).shear(g1=SHEAR[0], g2=SHEAR[1])
        for x, y, mag in zip(*star_positions(), rng.uniform(16.5, 19, N_STARS), strict=True):
            star = profile.withFlux(10 ** (0.4 * (30 - mag)))
            star.drawImage(image, center=(x + 1, y + 1), scale=1.0, add_to_image=True)
    pixels = (image.array + rng.normal(0, NOISE, (SIZE, SIZE))).astype(np.float32)
    packed = afits.CompImageHDU(pixels, HEADER, compression_type="RICE_1", quantize_level=16)
    afits.HDUList([afits.PrimaryHDU(), packed]).writeto(path)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The example run on an exposure with stars and one without."""
    top = tmp_path_factory.mktemp("infrared")
    for name in ("input/exposures", "output"):
        (top / name).mkdir(parents=True)
    for number, with_stars in ((1, True), (2, False)):
        write_exposure(top / f"input/exposures/image-{number}.fits.fz", with_stars)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SP_RUN", str(top))
        patch.setenv("SP_CONFIG", str(EXAMPLES))
        yield shapepipe.run(EXAMPLES / "other_surveys/vircam_exposure.ini")


def test_exposure_without_sources_is_accounted_for_and_stops_no_other(result):
    assert result.exit_status == 0
    for step in ("sextractor_runner", "setools_runner", "psfex_runner", "psf_interp_runner"):
        counts = Counter({state: n for state, n in result.counts[step].items() if n})
        assert counts["ok"] == 1 and counts.total() == 2, f"{step}: {counts}"
    empty = [line for line in result.outcomes() if line["status"] == "empty"]
    assert [(line["step"], line["number"]) for line in empty] == [("sextractor_runner", "-2-0")]
    assert "no source" in empty[0]["error"]


def test_stars_are_on_the_sky_where_the_zpn_projection_puts_them(result):
    (stars,) = (ldac.read(path) for path in result.products("setools_runner")
                if path.parent.name == "mask")  # fmt: skip
    assert 0.8 * N_STARS < len(stars) <= N_STARS
    truth = sky.pixel_to_world(WCS(HEADER), *star_positions())
    found = zip(stars["XWIN_WORLD"], stars["YWIN_WORLD"], strict=True)
    apart = [sky.separation(*truth, *place).min() * 3600 for place in found]
    assert max(apart) < 0.02 and np.median(apart) < 0.005  # arcsec; a pixel is 0.34


def test_model_has_the_shape_of_the_stars(result):
    (path,) = result.products("psf_interp_runner")
    table = ldac.read(path)
    for axis, given in zip(("E1", "E2"), SHEAR, strict=True):
        drawn = galsim.Moffat(beta=3.5, fwhm=FWHM).shear(g1=SHEAR[0], g2=SHEAR[1])
        true = galsim.hsm.FindAdaptiveMom(drawn.drawImage(nx=41, ny=41, scale=1.0))
        expected = true.observed_shape.g1 if axis == "E1" else true.observed_shape.g2
        assert np.sign(expected) == np.sign(given)
        assert np.median(table[f"{axis}_PSF_HSM"]) == pytest.approx(expected, abs=0.005)
        assert np.median(table["SIGMA_PSF_HSM"]) == pytest.approx(true.moments_sigma, rel=0.02)
