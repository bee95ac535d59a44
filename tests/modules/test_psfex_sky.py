"""Stars in a pit of the background: the model is too small, and is right with SKY_RADIUS."""

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
SIDE, PIT, COUNT = 41, 12.0, 40
STAR = galsim.Moffat(beta=3.5, fwhm=3.6)


def draw(off_x=0.0, off_y=0.0):
    return STAR.drawImage(nx=SIDE, ny=SIDE, scale=1.0, offset=(off_x, off_y)).array


@pytest.fixture
def stars(tmp_path):
    rng = np.random.default_rng(4)
    x, y = rng.uniform(30, 970, COUNT), rng.uniform(30, 970, COUNT)
    flux = rng.uniform(2e4, 4e4, COUNT)
    stamps = flux[:, None, None] * np.array(
        [draw(*off) for off in zip(x - np.round(x), y - np.round(y), strict=True)]
    )
    stamps += rng.normal(-PIT, 5, stamps.shape)
    table = Table({
        "NUMBER": np.arange(1, COUNT + 1), "XWIN_IMAGE": x + 1, "YWIN_IMAGE": y + 1,
        "FLUX_AUTO": flux.astype("f4"), "FLUXERR_AUTO": np.full(COUNT, 100, "f4"),
        "FLUX_RADIUS": np.full(COUNT, 2.1, "f4"), "ELONGATION": np.ones(COUNT, "f4"),
        "SNR_WIN": (flux / 100).astype("f4"), "FLAGS": np.zeros(COUNT, "i2"),
        "VIGNET": stamps.astype("f4"),
    })  # fmt: skip
    path = tmp_path / "star_selection-2366993-7.fits"
    ldac.write(path, table, header=afits.Header({"SEXBKDEV": 5.0, "SEXGAIN": 0.0}))
    return path


def size_of(stars, folder, **options):
    """Relative error of the area of the model, and the metrics of the run."""
    text = (CONFIG / "default.psfex").read_text().replace("51,51", f"{SIDE},{SIDE}")
    (folder / "small.psfex").write_text(text.replace("PSFVAR_DEGREES    2", "PSFVAR_DEGREES 0"))
    options = {"DOT_PSFEX_FILE": str(folder / "small.psfex")} | options
    outcome = trial(psfex_runner, {"star_selection": stars}, options, "-2366993-7", folder / "run")
    assert outcome.status == "ok", outcome.error
    model = psfmodel.read_psf(outcome.products[0]).on_pixels((31, 31)).evaluate([500.0], [500.0])
    sizes = [moments.measure(stamp).sigma[0] for stamp in (model, draw()[None, 5:-5, 5:-5])]
    return (sizes[0] / sizes[1]) ** 2 - 1, outcome.metrics


def test_stars_in_a_pit_are_levelled(tmp_path, stars):
    before = stars.read_bytes()
    wrong, _ = size_of(stars, tmp_path)
    right, metrics = size_of(stars, tmp_path, SKY_RADIUS="15")
    assert metrics["sky_level"] == pytest.approx(-PIT, abs=0.3)
    assert wrong < -0.02
    assert abs(right) < 0.003
    assert stars.read_bytes() == before
