"""Tables written block by block are those written at once."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.table import Table

from shapepipe.astro import fits, ldac
from shapepipe.astro.tablestream import TableStream


def table(rows):
    made = Table({"NUMBER": rows, "T": 0.5 * rows, "LABEL": [f"e-{i:03d}" for i in rows]})
    if not len(rows):
        made["LABEL"] = made["LABEL"].astype("U5")
    made["T"].unit, made["T"].description = "arcsec2", "area"
    made.meta["SHPB1"] = "NO_DATA"
    return made


@pytest.mark.parametrize("blocks", [(0, 7), (0, 3, 3, 7), (0, 0)])
def test_blocks_give_the_bytes_of_one_table(tmp_path, blocks):
    rows = np.arange(1, blocks[-1] + 1)
    names = ("NOSHEAR", "1P")
    hdus = [afits.PrimaryHDU(), *(ldac.table_hdu(table(rows), name) for name in names)]
    fits.write_hdus(tmp_path / "once.fits", afits.HDUList(hdus))
    with TableStream(tmp_path / "blocks.fits") as stream:
        for start, stop in zip(blocks[:-1], blocks[1:], strict=True):
            stream.add({name: table(rows[start:stop]) for name in names})
    made = tmp_path / "blocks.fits"
    assert made.read_bytes() == (tmp_path / "once.fits").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks.fits", "once.fits"]


def test_nothing_is_left_of_what_failed(tmp_path):
    with pytest.raises(ValueError, match="differ in their columns"):  # noqa: SIM117
        with TableStream(tmp_path / "blocks.fits") as stream:
            stream.add({"A": table(np.arange(3))})
            stream.add({"A": Table({"NUMBER": np.arange(3)})})
    assert not list(tmp_path.iterdir())
