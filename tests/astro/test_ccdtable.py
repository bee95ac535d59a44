"""World coordinates and flux scales of CCDs by their names."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sqlitedict import SqliteDict

from shapepipe.astro.ccdtable import CcdTable
from shapepipe.errors import BadInput


@pytest.fixture
def log(tmp_path):
    """Two CCDs of one exposure; the second has no FSCALE."""
    entries = np.empty(2, dtype=object)
    for ccd, scale in enumerate((1.5, None)):
        wcs = WCS(naxis=2)
        wcs.wcs.crpix = [ccd + 1.0, 1.0]
        header = fits.Header() if scale is None else fits.Header([("FSCALE", scale)])
        entries[ccd] = {"WCS": wcs, "header": header.tostring()}
    with SqliteDict(tmp_path / "log.sqlite") as table:
        table["2366993"] = entries
        table.commit()
    return tmp_path / "log.sqlite"


def test_ccds_are_told_apart(log):
    ccds = CcdTable(log)
    for ccd, scale in enumerate((1.5, 1.0)):
        solution, found = ccds.look_up(f"2366993-{ccd}")
        assert solution.wcs.crpix[0] == ccd + 1 and found == scale
    assert CcdTable(log, with_scales=False).look_up("2366993-0")[1] == 1.0


@pytest.mark.parametrize("label", ["2366993-2", "2366994-0"])
def test_a_ccd_that_is_not_there_is_named(log, label):
    exposure, ccd = label.split("-")
    with pytest.raises(BadInput, match=f"has no CCD {ccd} of exposure {exposure}"):
        CcdTable(log).look_up(label)
