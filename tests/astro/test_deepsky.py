"""Catalogues of large objects: those that come with the package, and a user's own."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table

import shapepipe
from shapepipe.astro import deepsky, masks
from shapepipe.errors import BadInput

DATA = Path(shapepipe.__file__).parent / "data" / "mask"

# Well-known galaxies: ICRS position in degrees, major axis in arcmin (good to 15 %).
KNOWN = {
    "M31": (10.6847, 41.2690, 178),
    "M33": (23.4621, 30.6602, 62),
    "M51": (202.4696, 47.1952, 14),
    "M81": (148.8882, 69.0653, 22),
    "M101": (210.8023, 54.3489, 24),
}


@pytest.mark.parametrize("file, n", [("messier.ecsv", 110), ("ngc.fits", 12009)])
def test_shipped_catalogues_are_whole(file, n):
    objects = deepsky.read(DATA / file)
    assert len(objects.ra) == n
    assert (0 < objects.radius).all() and (objects.radius < 3).all()
    assert (0 <= objects.ra).all() and (objects.ra < 360).all()


@pytest.mark.parametrize("file", ["messier.ecsv", "ngc.fits"])
@pytest.mark.parametrize("name", KNOWN)
def test_known_galaxies_are_where_they_are(file, name):
    ra, dec, major = KNOWN[name]
    objects = deepsky.read(DATA / file)
    sky = SkyCoord(objects.ra, objects.dec, unit="deg")
    near = sky.separation(SkyCoord(ra, dec, unit="deg")) < 30 * units.arcsec
    assert np.isclose(objects.radius[near] * 120, major, rtol=0.15).any()


def test_outlines_have_the_shape_they_should():
    halo, spike = (masks.read_outline(DATA / f"{name}.reg") for name in ("halo", "spike"))
    np.testing.assert_allclose(np.hypot(*halo.T), 270, atol=1e-3)
    assert len(spike) == 24
    turned = spike[:, ::-1] * [-1, 1]
    assert {tuple(v) for v in np.round(turned, 3) + 0.0} == {tuple(v) for v in spike + 0.0}


def test_radii_and_axes_are_told_apart():
    table = {"ra": [1.0, 2.0], "dec": [3.0, 4.0]}
    for sizes in ({"size_X": [0.1, 0.2], "size_Y": [0.3, 0.1]},
                  {"major": [36.0, 24.0] * units.arcmin, "minor": [1.0, 1.0] * units.arcmin},
                  {"radius": [1080.0, 720.0] * units.arcsec}):  # fmt: skip
        path_free = deepsky.from_table(Table({**table, **sizes}), "memory")
        np.testing.assert_allclose(path_free.radius, [0.3, 0.2])


def test_objects_without_size_are_left_out_and_no_size_column_is_an_error():
    table = Table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "radius": [np.nan, 0.1]})
    np.testing.assert_array_equal(deepsky.from_table(table, "memory").ra, [2.0])
    table.remove_column("radius")
    with pytest.raises(BadInput, match="no size column among ra, dec"):
        deepsky.from_table(table, "memory")
