"""Truth recovered from the pixels of an exposure as it stands in its files."""

from __future__ import annotations

import galsim
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from shapepipe.simulate import astrometry, draw, exposures, psf, simulate_survey
from shapepipe.simulate.detector import Defect
from shapepipe.simulate.run import frame_of
from shapepipe.simulate.survey import (
    CameraSection,
    DetectorSection,
    ExposureSection,
    FieldSection,
    FileSection,
    GalaxySection,
    PsfSection,
    SkySection,
    StarSection,
    Survey,
)

HALF = 16


def stamps(folder, number, apart=40.0):
    """Stamps around the isolated stars of an exposure: rows of truth, header, pixels, corner."""
    truth = Table.read(folder / "truth" / f"epochs-{number}.fits")
    with fits.open(folder / "exposures" / f"image-{number}.fits") as hdus:
        for ccd in range(4):
            pixels, header = hdus[ccd + 1].data.astype(float), hdus[ccd + 1].header
            pixels -= np.median(pixels)
            here = truth[truth["ccd"] == ccd]
            for row in here:
                x, y = round(row["x"]), round(row["y"])
                alone = np.hypot(here["x"] - row["x"], here["y"] - row["y"]) > apart
                inside = min(x, y, pixels.shape[1] - 1 - x, pixels.shape[0] - 1 - y) >= HALF
                if alone.sum() == len(here) - 1 and inside:
                    corner = x - HALF, y - HALF
                    cut = pixels[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
                    yield row, header, cut, corner


def moments(cut):
    """Adaptive moments of a stamp; positions 0-based."""
    image = galsim.Image(np.ascontiguousarray(cut), xmin=0, ymin=0)
    return image.FindAdaptiveMom(guess_centroid=galsim.PositionD(HALF, HALF))


def test_stars_are_where_the_header_says(clean_folder):
    """Sky position of the truth through the header of the file, against the centroid."""
    off, rotated = [], []
    for row, header, cut, corner in stamps(clean_folder, 2366993):
        x, y = WCS(header).all_world2pix(row["ra"], row["dec"], 0)
        found = moments(cut).moments_centroid
        off.append((found.x + corner[0] - x, found.y + corner[1] - y))
        rotated.append(header["CD1_1"] > 0)
    off, rotated = np.array(off), np.array(rotated)
    assert len(off) > 25
    for part in (off[rotated], off[~rotated]):
        assert len(part) > 10
        assert np.abs(part.mean(axis=0)).max() < 0.003
        assert np.abs(part).max() < 0.02


def test_counts_agree_with_the_zero_point(clean_folder):
    magnitudes = []
    for row, header, cut, _ in stamps(clean_folder, 2366994, apart=60.0):
        assert row["flux"] == pytest.approx(10 ** (0.4 * (header["PHOTZP"] - row["mag"])), rel=1e-9)
        assert header["FSCALE"] == pytest.approx(10 ** (0.4 * (30.0 - header["PHOTZP"])), rel=1e-9)
        magnitudes.append(header["PHOTZP"] - 2.5 * np.log10(cut.sum()) - row["mag"])
    assert np.median(magnitudes) == pytest.approx(0.0, abs=0.01)


def test_psf_is_that_of_the_truth(clean_folder):
    """Size and ellipticity of each star against the profile rebuilt from its row of the table."""
    sizes, shapes = [], []
    for row, header, cut, _ in stamps(clean_folder, 2366993):
        found, expected = moments(cut), moments(draw_psf(row, header))
        sizes.append(found.moments_sigma / expected.moments_sigma - 1)
        shapes.append((found.observed_shape.g1 - expected.observed_shape.g1,
                       found.observed_shape.g2 - expected.observed_shape.g2))  # fmt: skip
    assert np.abs(np.median(sizes)) < 1e-3 and np.std(sizes) < 0.01
    assert np.abs(np.median(shapes, axis=0)).max() < 1e-3


def draw_psf(row, header):
    """PSF of a row of truth, at the place of the star, without use of the simulator's WCS code."""
    names = ("psf_fwhm", "psf_g1", "psf_g2", "psf_coma1", "psf_coma2")
    profile = psf.make_profile("moffat", 3.5, *(float(row[name]) for name in names))
    where = galsim.PositionD(float(row["x"]) + 1, float(row["y"]) + 1)
    local = galsim.AstropyWCS(wcs=WCS(header)).local(where)
    image = galsim.ImageD(2 * HALF + 1, 2 * HALF + 1)
    part = galsim.PositionD(row["x"] - round(row["x"]), row["y"] - round(row["y"]))
    return profile.drawImage(image, wcs=local, offset=part).array


def test_psfs_of_a_truth_table(clean_folder):
    """All at once through our Jacobians, against one by one through those of GalSim."""
    truth = Table.read(clean_folder / "truth/epochs-2366993.fits")
    header = fits.getheader(clean_folder / "exposures/image-2366993.fits", 2)
    rows = truth[truth["ccd"] == 1][:5]
    scale = astrometry.jacobians(WCS(header), rows["x"], rows["y"])
    stamps = draw.draw_psfs(rows, scale, "moffat", 3.5, 2 * HALF + 1)
    for row, stamp in zip(rows, stamps, strict=True):
        row["x"], row["y"] = round(row["x"]), round(row["y"])
        assert stamp == pytest.approx(draw_psf(row, header), abs=1e-5)
    assert stamps.sum(axis=(1, 2)) == pytest.approx(1.0, abs=0.005)


def test_psf_varies_over_the_field_and_between_exposures(clean_folder):
    one, two = (Table.read(clean_folder / f"truth/epochs-{n}.fits") for n in (2366993, 2366994))
    assert np.ptp(one["psf_fwhm"]) > 0.01 and np.ptp(one["psf_g1"]) > 0.005
    assert abs(one["psf_fwhm"].mean() - two["psf_fwhm"].mean()) > 0.005


def test_an_object_has_one_place_on_the_sky_and_one_per_exposure(clean_folder):
    one, two = (Table.read(clean_folder / f"truth/epochs-{n}.fits") for n in (2366993, 2366994))
    objects = Table.read(clean_folder / "truth/objects.fits")
    assert set(objects["id"]) == set(one["id"]) | set(two["id"])
    common = [i for i in one["id"] if i in set(two["id"])]
    first = {row["id"]: row for row in one}
    second = {row["id"]: row for row in two}
    assert len(common) > 30
    assert all(first[i]["ra"] == second[i]["ra"] for i in common)
    assert min(abs(first[i]["x"] - second[i]["x"]) for i in common) > 0.5


def sky_moments(cut, header, corner):
    """Second moments along east and north from positions of pixels, in arcsec^2."""
    rows, columns = np.indices(cut.shape)
    ra, dec = WCS(header).all_pix2world(columns + corner[0], rows + corner[1], 0)
    weight = cut * np.exp(-0.5 * ((columns - HALF) ** 2 + (rows - HALF) ** 2) / 5.0**2)
    east = (ra - np.average(ra, weights=weight)) * np.cos(np.radians(dec)) * 3600
    north = (dec - np.average(dec, weights=weight)) * 3600
    return [np.average(a * b, weights=weight)
            for a, b in ((east, east), (north, north), (east, north))]  # fmt: skip


@pytest.mark.parametrize(("g1", "g2"), [(0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.05, -0.03)])
def test_shear_has_its_size_and_sign_on_the_sky(tmp_path, g1, g2):
    """Round galaxies, sheared along east-west (g1 > 0) or north-west to south-east (g2 > 0).

    The sign is judged by moments in right ascension and declination, the size by the regaussianised
    shapes of GalSim, both on CCDs of either orientation.
    """
    survey = Survey(
        camera=CameraSection(width=200, height=200, cubic=0.0, distortion_scatter=0),
        exposures=ExposureSection(dither=0, angle_scatter=0),
        sky=SkySection(gradient=0),
        psf=PsfSection(ellipticity=0, curvature=0, astigmatism=0, coma=0),
        stars=StarSection(density=0),
        galaxies=GalaxySection(
            layout="grid", spacing=9, mag_bright=19, mag_faint=19.5, ellipticity=0,
            sersic=[1.0], sersic_weights=[1.0], size_factor=0.6, g1=g1, g2=g2,
        ),
        detector=DetectorSection(noise=False, bleeding=False, bad_columns=0, cosmic_rays=0,
                                 trails=0),
        files=FileSection(extension=".fits", star_text=False),
    )  # fmt: skip
    simulate_survey(survey, tmp_path)
    measured = {True: [], False: []}
    for row, header, cut, corner in stamps(tmp_path, 2366993):
        ee, nn, en = sky_moments(cut, header, corner)
        assert np.sign((ee - nn) / (ee + nn)) == np.sign(g1) or abs(g1) < 0.01
        assert np.sign(-en) == np.sign(g2) or abs(g2) < 0.01
        star = galsim.Image(draw_psf(row, header))
        shape = galsim.hsm.EstimateShear(galsim.Image(cut.copy()), star)
        found = galsim.Shear(e1=shape.corrected_e1, e2=shape.corrected_e2)
        measured[header["CD1_1"] > 0].append((found.g1, found.g2))
    for part in measured.values():
        assert len(part) > 5
        assert np.mean(part, axis=0) == pytest.approx((g1, g2), abs=0.004)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A survey with everything that spoils it."""
    survey = Survey(
        camera=CameraSection(width=300, height=260),
        exposures=ExposureSection(count=2),
        stars=StarSection(density=10, mag_bright=13.0),
        detector=DetectorSection(cosmic_rays=100, trails=3),
    )
    folder = tmp_path_factory.mktemp("spoilt")
    simulate_survey(survey, folder)
    return folder


def test_weight_is_the_inverse_variance_and_zero_where_flags_say(spoilt):
    with (
        fits.open(spoilt / "exposures/image-2366993.fits.fz") as images,
        fits.open(spoilt / "exposures/weight-2366993.fits.fz") as weights,
        fits.open(spoilt / "exposures/flag-2366993.fits.fz") as flags,
    ):
        seen = 0
        for image, weight, flag in zip(images[1:], weights[1:], flags[1:], strict=True):
            seen |= int(np.bitwise_or.reduce(flag.data, axis=None))
            lost = (flag.data & (Defect.BAD | Defect.COSMIC | Defect.UNEXPOSED)) != 0
            assert np.array_equal(weight.data == 0, lost)
            quiet = image.data[flag.data == 0].astype(float)
            noise = 1.4826 * np.median(np.abs(quiet - np.median(quiet)))
            expected = np.median(weight.data[~lost]) ** -0.5
            assert noise == pytest.approx(expected, rel=0.08)
            full = (flag.data & Defect.SATURATED) != 0
            full &= (flag.data & Defect.BAD) == 0
            assert image.data[full].size == 0 or image.data[full].min() > 64990
            assert image.data.dtype == np.uint16
            assert flag.header["FLAG00"] == "BAD" and flag.header["FLAG06"] == "SATURATED"
        assert seen == Defect.BAD | Defect.COSMIC | Defect.SATURATED | Defect.TRAIL


def test_headers_are_those_of_a_survey(spoilt):
    with fits.open(spoilt / "exposures/image-2366994.fits.fz") as hdus:
        assert len(hdus) == 5 and hdus[0].header["NEXTEND"] == 4
        assert [hdu.name for hdu in hdus[1:]] == ["ccd00", "ccd01", "ccd02", "ccd03"]
        header = hdus[2].header
        names = "GAIN RDNOISE SATURATE EXPTIME DATE-OBS MJD-OBS FILTER DATASEC DETSEC PHOTZP FSCALE"
        assert all(name in header for name in names.split())
        assert header["CTYPE1"] == "RA---TPV" and header["EXPNUM"] == 2366994


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (123.0, 89.98), (45.0, -89.99)])
def test_sky_closes_across_ra_zero_and_the_poles(ra, dec):
    """As many stars on a CCD as anywhere, and the tangent planes are true to scale."""
    survey = Survey(
        survey=FieldSection(ra=ra, dec=dec),
        camera=CameraSection(columns=1, rows=1, width=1000, height=1000, cubic=0.0),
        stars=StarSection(density=40),
        galaxies=GalaxySection(density=0),
    )
    camera = exposures.make_camera(survey.camera)
    frame = frame_of(camera, exposures.draw_exposure(survey, camera, 0), 0)
    sources, jacobians = exposures.find_sources(exposures.make_sky(survey), frame)
    inside = (np.abs(sources["x"] - 500) < 500) & (np.abs(sources["y"] - 500) < 500)
    expected = 40 * (1000 * 0.187 / 60) ** 2
    assert inside.sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert np.abs(np.linalg.det(jacobians)) == pytest.approx(0.187**2, rel=1e-4)
    x, y = frame.wcs.all_world2pix(sources["ra"], sources["dec"], 0)
    assert x == pytest.approx(sources["x"], abs=1e-6)
    assert len(np.unique(np.round(sources["x"], 3))) == len(sources)


def test_archive_names_and_plain_gzip(tmp_path):
    survey = Survey(
        camera=CameraSection(columns=1, rows=1, width=64, height=64),
        files=FileSection(names="cfht", extension=".fits.gz"),
    )
    simulate_survey(survey, tmp_path)
    assert sorted(path.name for path in (tmp_path / "exposures").iterdir()) == [
        "2366993p.fits.gz", "2366993p.flag.fits.gz", "2366993p.weight.fits.gz",
    ]  # fmt: skip
    weight = fits.getdata(tmp_path / "exposures/2366993p.weight.fits.gz", 1)
    assert weight.shape == (64, 64) and weight.dtype.kind == "f" and weight.max() > 0
