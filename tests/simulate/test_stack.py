"""Stacks by SWarp: what their headers say, and truth recovered from their pixels."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.errors import ProgramFailed
from shapepipe.simulate import Survey, simulate_survey
from shapepipe.simulate.stack import tile_position
from shapepipe.simulate.survey import (
    CameraSection,
    DetectorSection,
    ExposureSection,
    FieldSection,
    FileSection,
    GalaxySection,
    StackSection,
    StarSection,
)

HALF = 16


def survey(**stack):
    return Survey(
        survey=FieldSection(tiles=["277.282", "277.283"]),
        camera=CameraSection(width=420, height=400),
        exposures=ExposureSection(count=2, dither=15.0, zero_point_scatter=0.2),
        stars=StarSection(density=6, mag_bright=18.5, mag_faint=21.0),
        galaxies=GalaxySection(density=0),
        detector=DetectorSection(trails=0),
        files=FileSection(star_text=False),
        stack=StackSection(make=True, size=600, spacing=0.01, **stack),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    simulate_survey(survey(), folder)
    return folder


@pytest.mark.programs("swarp")
def test_history_names_the_exposures_and_their_ccds(folder):
    header = fits.getheader(folder / "tiles/CFIS_image-277-282.fits")
    words = [line.split(" ") for line in header["HISTORY"]]
    assert [line[3] for line in words] == ["2366993p.fits", "2366994p.fits"]
    assert [line[4] for line in words] == ["4", "4"]
    assert header["PHOTZP"] == 30.0
    assert (folder / "tile_numbers.txt").read_text().split() == ["277.282", "277.283"]


@pytest.mark.programs("swarp")
def test_stars_on_a_tile_have_their_place_and_counts(folder):
    with fits.open(folder / "tiles/CFIS_image-277-282.fits") as hdus:
        pixels, header = hdus[0].data.astype(float), hdus[0].header
    stars = Table.read(folder / "truth/objects.fits")
    x, y = WCS(header).all_world2pix(stars["ra"], stars["dec"], 0)
    off, magnitudes = [], []
    for i in range(len(stars)):
        alone = np.sort(np.hypot(x - x[i], y - y[i]))[1] > 2 * HALF
        if alone and min(x[i], y[i], 599 - x[i], 599 - y[i]) > HALF + 1:
            column, row = round(x[i]), round(y[i])
            cut = pixels[row - HALF : row + HALF + 1, column - HALF : column + HALF + 1]
            found = galsim.Image(cut.copy(), xmin=0, ymin=0).FindAdaptiveMom()
            centre = found.moments_centroid
            off.append((centre.x - HALF + column - x[i], centre.y - HALF + row - y[i]))
            magnitudes.append(30.0 - 2.5 * np.log10(cut.sum()) - stars["mag"][i])
    off = np.array(off)
    assert len(off) > 10
    assert np.abs(np.median(off, axis=0)).max() < 0.02
    assert np.median(magnitudes) == pytest.approx(0.0, abs=0.03)


@pytest.mark.programs("swarp")
def test_weight_of_a_tile_is_packed_in_hdu_1_and_tells_the_noise(folder):
    with fits.open(folder / "tiles/CFIS_weight-277-282.fits.fz") as hdus:
        assert len(hdus) == 2
        weight = hdus[1].data
    image = fits.getdata(folder / "tiles/CFIS_image-277-282.fits")
    both = weight > 0.9 * weight.max()
    noise = 1.4826 * np.median(np.abs(image[both]))
    assert noise == pytest.approx(np.median(weight[both]) ** -0.5, rel=0.1)


@pytest.mark.programs("swarp")
def test_tiles_share_their_overlap(folder):
    """A star in both tiles has the same counts in both."""
    counts = []
    stars = Table.read(folder / "truth/objects.fits")
    for tile in ("277-282", "277-283"):
        with fits.open(folder / f"tiles/CFIS_image-{tile}.fits") as hdus:
            x, y = WCS(hdus[0].header).all_world2pix(stars["ra"], stars["dec"], 0)
            pixels = hdus[0].data
        inside = (x > 20) & (x < 580) & (y > 20) & (y < 580)
        counts.append({
            stars["id"][i]: pixels[round(y[i]) - 5 : round(y[i]) + 6,
                                   round(x[i]) - 5 : round(x[i]) + 6].sum()
            for i in np.flatnonzero(inside)
        })  # fmt: skip
    common = counts[0].keys() & counts[1].keys()
    assert len(common) > 5
    ratio = [counts[0][i] / counts[1][i] for i in common]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)


def test_places_of_tiles():
    real = Survey(survey=FieldSection(tiles=["277.282", "278.283"]))
    assert tile_position(real, "278.283") == pytest.approx((223.2879, 51.5), abs=1e-4)
    small = survey()
    first, second = (tile_position(small, tile) for tile in small.survey.tiles)
    assert second[1] - first[1] == pytest.approx(0.01)
    assert second[0] == pytest.approx(first[0])


def test_program_that_is_not_there(tmp_path):
    with pytest.raises(ProgramFailed, match="not installed"):
        simulate_survey(
            Survey(
                camera=CameraSection(columns=1, rows=1, width=64, height=64),
                stack=StackSection(make=True, program="no-such-swarp"),
            ),
            tmp_path,
        )
