"""Star catalogues in all their forms; no star is lost for want of one magnitude."""

import sys
from types import ModuleType

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table

from shapepipe.astro import starcat
from shapepipe.astro.starcat import Stars
from shapepipe.errors import BadInput, ConfigurationError

RA, DEC, MAG = (
    np.array([10.0, 359.9, 200.25]),
    np.array([-5.0, 89.0, 41.5]),
    np.array([9, 12.5, 15]),
)

GSC = """# findgsc2.2
# Centre
#
#GSC2.2 RA(J2000) Dec(J2000) Fmag Jmag Vmag Nmag Clas
N0001 10.5 +41.25 12.0 14.0 --- --- 0
N0002 10.6 +41.30 --- --- 9.5 --- 0
N0003 10.7 -41.35 --- --- --- --- 0
N0004 10.8 +41.40 11.0 --- --- --- 3
# -- 4 matches
#
#
#
#
"""


@pytest.mark.parametrize(
    "name", ["stars.fits", "stars.ecsv", "stars.csv", "stars.vot", "stars.txt"]
)
@pytest.mark.filterwarnings("ignore::astropy.io.votable.exceptions.W03")
def test_any_table_format_is_read(tmp_path, name):
    formats = {".csv": "ascii.csv", ".vot": "votable", ".txt": "ascii"}
    path = tmp_path / name
    Table({"RA": RA, "Dec": DEC, "phot_g_mean_mag": MAG}).write(
        path, format=formats.get(path.suffix)
    )
    stars = starcat.read(path)
    for got, expected in ((stars.ra, RA), (stars.dec, DEC), (stars.mag, MAG)):
        np.testing.assert_allclose(got, expected)


def test_units_of_the_columns_count():
    table = Table({"ra": np.radians(RA) * units.rad, "dec": DEC * 3600 * units.arcsec, "mag": MAG})
    stars = starcat.from_table(table, "memory")
    np.testing.assert_allclose((stars.ra, stars.dec), (RA, DEC))
    hours = QTable({"ra": RA / 15 * units.hourangle, "dec": DEC * units.deg, "mag": MAG})
    np.testing.assert_allclose(starcat.from_table(hours, "memory").ra, RA)


def test_sexagesimal_and_skycoord_positions():
    text = Table(
        {"ra": ["00:40:00", "23:59:36"], "dec": ["-05:00:00", "+89 00 00"], "mag": MAG[:2]}
    )
    stars = starcat.from_table(text, "memory")
    np.testing.assert_allclose((stars.ra, stars.dec), (RA[:2], DEC[:2]))
    sky = QTable({"place": SkyCoord(RA, DEC, unit="deg"), "mag": MAG})
    np.testing.assert_allclose(starcat.from_table(sky, "memory").dec, DEC)


def test_columns_may_be_named():
    table = Table({"a": RA, "d": DEC, "mag": MAG, "blue": MAG + 1, "red": MAG - 1})
    stars = starcat.from_table(table, "memory", "a", "d", ["blue", "red"])
    np.testing.assert_allclose(stars.mag, MAG)


@pytest.mark.parametrize("gone, word", [("ra", "right ascension"), ("dec", "declination"),
                                        ("mag", "magnitude")])  # fmt: skip
def test_a_missing_column_is_named_with_what_is_there(tmp_path, gone, word):
    table = Table({"ra": RA, "dec": DEC, "mag": MAG, "other": MAG})
    table.remove_column(gone)
    table.write(tmp_path / "stars.fits")
    with pytest.raises(BadInput, match=rf"stars\.fits: no {word} column among .*other"):
        starcat.read(tmp_path / "stars.fits")


def test_a_named_magnitude_that_is_not_there_is_an_error():
    table = Table({"ra": RA, "dec": DEC, "mag": MAG})
    with pytest.raises(BadInput, match="no magnitude column"):
        starcat.from_table(table, "memory", "ra", "dec", ["mag", "Vmag"])


def test_stars_with_missing_magnitudes_are_not_lost():
    """118 stars, of which 61 lack one band or all: all of them come back."""
    rng = np.random.default_rng(1)
    n = 118
    bands = np.column_stack((rng.uniform(8, 16, n), rng.uniform(8, 16, n)))
    bands[:40, 0] = np.nan
    bands[30:61, 1] = np.nan
    table = Table({"ra": rng.uniform(0, 1, n), "dec": rng.uniform(0, 1, n), "Fmag": bands[:, 0]})
    table["Vmag"] = MaskedColumn(np.nan_to_num(bands[:, 1]), mask=np.isnan(bands[:, 1]))
    stars = starcat.from_table(table, "memory")
    assert len(stars) == n
    np.testing.assert_array_equal(np.isnan(stars.mag), np.isnan(bands).all(axis=1))
    np.testing.assert_allclose(stars.mag[:30], bands[:30, 1])
    np.testing.assert_allclose(stars.mag[61:], bands[61:].mean(axis=1))


def test_numbers_that_stand_for_no_magnitude_are_not_taken_for_bright_stars():
    """A star of magnitude -99 would mask the whole exposure."""
    table = Table(
        {"ra": RA, "dec": DEC, "Fmag": [-99.0, 99.0, 12.0], "Vmag": [-9999.0, 11.0, 14.0]}
    )
    np.testing.assert_allclose(starcat.from_table(table, "memory").mag, [np.nan, 11, 13])


def test_gsc_text_is_read_as_it_always_was(tmp_path):
    path = tmp_path / "star_cat-1.cat"
    path.write_text(GSC)
    stars = starcat.read(path)
    np.testing.assert_allclose(stars.ra, [10.5, 10.6, 10.7])
    np.testing.assert_allclose(stars.dec, [41.25, 41.3, -41.35])
    np.testing.assert_allclose(stars.mag, [13.0, 9.5, np.nan])


def test_gsc_text_is_written_so_that_it_can_be_read(tmp_path):
    path = tmp_path / "star_cat-1.cat"
    starcat.write_gsc(path, Stars(RA, DEC, np.array([9, np.nan, 15])), "three stars")
    stars = starcat.read(path)
    np.testing.assert_allclose((stars.ra, stars.dec), (RA, DEC), atol=1e-7)
    np.testing.assert_allclose(stars.mag, [9, np.nan, 15])
    lines = path.read_text().splitlines()
    assert "RA(J2000)" in lines[3] and lines[6].split()[2] == "15.0000" and len(lines) == 12


def test_gsc_text_without_stars_gives_none(tmp_path):
    path = tmp_path / "star_cat-1.cat"
    starcat.write_gsc(path, Stars(*np.zeros((3, 0))))
    assert len(starcat.read(path)) == 0


@pytest.mark.parametrize("old, new, said", [
    ("Fmag ", "", "line 4 names no column Fmag"),
    ("+41.25", "north", "line 5: could not convert"),
    (" 14.0 --- --- 0", "", "line 5 has 4 values"),
    ("# -- 4 matches\n#\n#\n#\n#\n", "", "line 4 names no|lines only"),
])  # fmt: skip
def test_bad_gsc_text_is_an_error_with_its_line(tmp_path, old, new, said):
    path = tmp_path / "star_cat-1.cat"
    text = GSC.replace(old, new)
    path.write_text("\n".join(text.splitlines()[:8]) if not new and "matches" in old else text)
    with pytest.raises(BadInput, match=said):
        starcat.read(path)


def test_a_catalogue_that_is_not_there_or_not_a_table_is_named(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        starcat.read(tmp_path / "stars.fits")
    (tmp_path / "stars.fits").write_bytes(b"SIMPLE  =    T")
    with pytest.raises(BadInput, match=r"stars\.fits: cannot be read as"):
        starcat.read(tmp_path / "stars.fits")


def test_a_query_asks_for_the_field_and_takes_any_table(monkeypatch):
    asked = []
    module = ModuleType("fake_archive")

    def cone(ra, dec, radius, faintest):
        asked.append((ra, dec, radius, faintest))
        return Table({"ra": RA, "dec": DEC, "mag": MAG})

    module.cone = cone
    monkeypatch.setitem(sys.modules, "fake_archive", module)
    stars = starcat.query("fake_archive:cone", 1.0, 2.0, 0.5, 13.0)
    assert asked == [(1.0, 2.0, 0.5, 13.0)]
    np.testing.assert_array_equal(stars.mag, MAG)


def test_unknown_query_says_what_is_allowed():
    with pytest.raises(ConfigurationError, match=r"'nomad' cannot be used.*gaia, gsc"):
        starcat.find_query("nomad")
    with pytest.raises(ConfigurationError, match="has no function 'nothing'"):
        starcat.find_query("shapepipe.astro.starcat:nothing")


class FakeVizier:
    """Answers like astroquery's Vizier, and keeps what it was asked."""

    last = None

    def __init__(self, **settings):
        self.__dict__.update(settings)
        FakeVizier.last = self

    def query_region(self, centre, radius, catalog):
        self.field, self.catalog = (centre.ra.deg, centre.dec.deg, radius.to_value("deg")), catalog
        if centre.dec.deg > 80:
            return []
        return [Table(dict.fromkeys(self.columns, RA))]


@pytest.mark.parametrize("source, n_mags", [("gaia", 1), ("gsc", 4)])
def test_on_line_catalogues_give_positions_and_magnitudes(monkeypatch, source, n_mags):
    vizier = ModuleType("astroquery.vizier")
    vizier.Vizier = FakeVizier
    monkeypatch.setitem(sys.modules, "astroquery", ModuleType("astroquery"))
    monkeypatch.setitem(sys.modules, "astroquery.vizier", vizier)
    monkeypatch.delitem(sys.modules, "shapepipe.astro.online_stars", raising=False)
    stars = starcat.query(source, 10.0, 20.0, 0.25, 13.0)
    assert len(stars) == 3
    assert FakeVizier.last.field == (10.0, 20.0, 0.25)
    assert len(FakeVizier.last.columns) == 2 + n_mags and FakeVizier.last.row_limit == -1
    assert ("Gmag" in FakeVizier.last.column_filters) == (source == "gaia")
    assert len(starcat.query(source, 10.0, 85.0, 0.25, 13.0)) == 0
    monkeypatch.delitem(sys.modules, "shapepipe.astro.online_stars")
