"""SExtractor catalogues: columns, units and the image header survive; what is missing is named."""

import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.table import Column, Table

from shapepipe.astro import fits, ldac
from shapepipe.errors import BadInput

KINDS = ["?", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">f4"]


def catalogue(n=5):
    """Columns of the forms that occur in SExtractor catalogues."""
    numbers = np.arange(n)
    return Table(
        [
            Column(numbers.astype("i4"), "NUMBER", description="Running object number"),
            Column(numbers * 1.5, "XWIN_IMAGE", unit="pixel"),
            Column(np.ones((n, 3), "f4"), "FLUX_APER", unit="count"),
            Column(numbers[:, None, None] * np.ones((7, 5), "f4"), "VIGNET", unit="count"),
            Column(20.0 + numbers, "MU_MAX", unit="mag / arcsec2"),
        ],
        meta={"EXPNUM": 2366993},
    )


def same(one, other):
    """Whether two tables agree in names, values, units and descriptions."""
    return one.colnames == other.colnames and all(
        np.array_equal(one[name], other[name])
        and one[name].unit == other[name].unit
        and one[name].description == other[name].description
        for name in one.colnames
    )


def test_table_survives_writing_and_reading(tmp_path):
    ldac.write(tmp_path / "c.fits", catalogue())
    found = ldac.read(tmp_path / "c.fits")
    assert same(found, catalogue())
    assert found.meta == {"EXPNUM": 2366993}
    assert found["VIGNET"].shape == (5, 7, 5)
    assert ldac.count(tmp_path / "c.fits") == 5


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_type_survives_as_scalar_vector_and_stamp(tmp_path, kind):
    stamps = (np.arange(24).reshape(2, 3, 4) % 2 + 3).astype(kind)
    table = Table({"a": stamps[:, 0, 0], "b": stamps[:, 0], "c": stamps})
    ldac.write(tmp_path / "c.fits", table)
    found = ldac.read(tmp_path / "c.fits")
    for name in "abc":
        assert found[name].dtype == np.dtype(kind).newbyteorder("=")
        assert np.array_equal(found[name], table[name])


def test_text_columns_survive(tmp_path):
    ldac.write(tmp_path / "c.fits", Table({"EXP_NAME": ["2366993", "23"], "P": [["a", "b"]] * 2}))
    found = ldac.read(tmp_path / "c.fits")
    assert list(found["EXP_NAME"]) == ["2366993", "23"]
    assert found["P"].tolist() == [["a", "b"]] * 2


def test_image_header_is_copied_to_the_byte(tmp_path):
    """Blanks, long lines and odd cards of the parent must come out as they went in."""
    header = afits.Header({"GAIN": 1.7, "EXPTIME": 100.0})
    header["HISTORY"] = "input image 2228303p.fits 40 extension(s)"
    ldac.write(tmp_path / "a.fits", catalogue(), header=header)
    ldac.write(tmp_path / "b.fits", catalogue(2), header_of=tmp_path / "a.fits")
    found = ldac.read_header(tmp_path / "b.fits")
    assert list(found)[:5] == ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]
    assert found[5:].tostring() == header.tostring()
    with afits.open(tmp_path / "a.fits") as one, afits.open(tmp_path / "b.fits") as other:
        assert one[1].data.tobytes() == other[1].data.tobytes()
        assert [hdu.name for hdu in other] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]


def test_further_tables_follow_the_objects(tmp_path):
    ldac.write(tmp_path / "c.fits", catalogue(), extra={"EPOCH_0": Table({"CCD_N": [1, 2]})})
    assert list(ldac.read(tmp_path / "c.fits", hdu="EPOCH_0")["CCD_N"]) == [1, 2]
    assert list(ldac.read(tmp_path / "c.fits", hdu=3)["CCD_N"]) == [1, 2]
    assert ldac.count(tmp_path / "c.fits") == 5


def test_same_table_gives_same_bytes(tmp_path):
    for name in ("a.fits", "b.fits"):
        ldac.write(tmp_path / name, catalogue(), checksum=True)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_rows_and_columns_may_be_few(tmp_path):
    ldac.write(tmp_path / "c.fits", catalogue()[:0])
    assert len(ldac.read(tmp_path / "c.fits")) == ldac.count(tmp_path / "c.fits") == 0
    ldac.write_plain(tmp_path / "p.fits", catalogue(), "RESULTS")
    assert ldac.read(tmp_path / "p.fits", columns=["MU_MAX"]).colnames == ["MU_MAX"]
    with pytest.raises(ValueError, match="without columns"):
        ldac.write(tmp_path / "n.fits", Table())


def test_units_are_written_as_they_were_spelt(tmp_path):
    """SExtractor's `count` and `mag * arcsec**(-2)` stay so for programs that compare text."""
    written = ["count", "mag * arcsec**(-2)", "deg**2"]
    columns = [afits.Column(f"C{i}", "1E", unit=u, array=[1.0]) for i, u in enumerate(written)]
    afits.HDUList([afits.PrimaryHDU(), afits.BinTableHDU.from_columns(columns)]).writeto(
        tmp_path / "a.fits"
    )
    ldac.write(tmp_path / "b.fits", ldac.read(tmp_path / "a.fits"))
    with afits.open(tmp_path / "b.fits") as hdus:
        assert [hdus[2].header[f"TUNIT{i}"] for i in (1, 2, 3)] == written


def test_missing_column_is_named_with_the_nearest(tmp_path):
    ldac.write(tmp_path / "c.fits", catalogue())
    with pytest.raises(BadInput, match="column FLUX_APERS is missing.*FLUX_APER"):
        ldac.read(tmp_path / "c.fits", columns=["FLUX_APERS"])


def test_files_without_what_is_asked_for_say_what_they_hold(tmp_path):
    fits.write_image(tmp_path / "i.fits", np.zeros((3, 4), "f4"))
    with pytest.raises(BadInput, match=r"no HDU holds a table of objects; there is 0 \(4 x 3\)"):
        ldac.read(tmp_path / "i.fits")
    with pytest.raises(BadInput, match="has no LDAC_IMHEAD"):
        ldac.read_header(tmp_path / "i.fits")
    ldac.write(tmp_path / "c.fits", catalogue())
    with pytest.raises(BadInput, match="HDU 9 is missing"):
        ldac.read(tmp_path / "c.fits", hdu=9)
    with pytest.raises(BadInput, match="HDU 0 does not hold a table"):
        ldac.read(tmp_path / "c.fits", hdu=0)


def test_cut_catalogue_is_reported(tmp_path):
    path = tmp_path / "c.fits"
    ldac.write(path, catalogue(3000))
    path.write_bytes(path.read_bytes()[:200_000])
    for act in (ldac.read, ldac.count):
        with pytest.raises(BadInput, match="cut short: HDU 2"):
            act(path)


def test_type_without_fits_form_is_refused(tmp_path):
    with pytest.raises(TypeError, match="column Z of type complex128"):
        ldac.write(tmp_path / "c.fits", Table({"Z": [1j]}))
