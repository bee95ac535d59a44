"""World coordinates and flux scales of the CCDs behind a stack, read when an exposure is first met.

One object answers for all CCDs that the stamps of a catalogue name as "exposure-ccd". What is done
with them, such as turning PSFs to the stack, is not decided here.
"""

from __future__ import annotations

from pathlib import Path

from astropy.wcs import WCS

from shapepipe.astro import epochs
from shapepipe.errors import BadInput


class CcdTable:
    """The table of `merge_headers_runner`, CCD by CCD.

    Parameters
    ----------
    path : Path
        The table.
    with_scales : bool
        Read FSCALE of the headers; otherwise all flux scales are 1.
    """

    def __init__(self, path: Path, with_scales: bool = True):
        self._path, self._with_scales = path, with_scales
        self._solutions: dict[str, list] = {}
        self._scales: dict[tuple[str, int], float] = {}

    def look_up(self, label: str) -> tuple[WCS, float]:
        """World coordinates of "exposure-ccd", and FSCALE of its header, 1 where it has none.

        Raises
        ------
        BadInput
            The table has no such CCD, or its FSCALE is no positive number.
        """
        exposure, _, ccd = label.rpartition("-")
        if exposure not in self._solutions:
            self._solutions |= {exposure: [], **epochs.read_wcs(self._path, [exposure])}
            if self._with_scales:
                self._scales |= epochs.read_flux_scales(self._path, [exposure])
        known = self._solutions[exposure]
        if int(ccd) >= len(known):
            raise BadInput(self._path, f"has no CCD {ccd} of exposure {exposure}")
        return known[int(ccd)], self._scales.get((exposure, int(ccd)), 1.0)
