"""Find which CCD of which exposure sees which object of a stack: the tables EPOCH_<i> and N_EPOCH.

Candidates come from the circle around each CCD and its outline on the sky; the exact WCS is asked
for those alone, so that the cost grows with the objects, not with objects times CCDs. Reading the
tables back is in `epochs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import cKDTree

from shapepipe.astro import wcs

EXPOSURE_NAME = r"(\d+)p\."
"""How HISTORY cards name an exposure: its number, ``p`` and a dot, as in ``2366993p.fits``."""
NOT_SEEN = -1
_MARGIN = 8.0  # pixels added to an outline, as its sides are straight and the true ones are not


@dataclass(frozen=True)
class Frame:
    """Part of a CCD that counts: limits in 0-based pixels, themselves excluded."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    def holds(self, x, y) -> np.ndarray:
        """Tell which pixels lie strictly inside."""
        return (x > self.x_min) & (x < self.x_max) & (y > self.y_min) & (y < self.y_max)


def exposure_names(header: fits.Header, pattern: str = EXPOSURE_NAME) -> list[str]:
    """Exposures that the HISTORY cards of a stack name, each once, in the order of the cards.

    Parameters
    ----------
    header : Header
        Of the stack.
    pattern : str
        Regular expression; its first group, or all of it, is the name.
    """
    cards = header["HISTORY"] if "HISTORY" in header else ()
    found = (match for card in cards for match in re.finditer(pattern, str(card)))
    return list(dict.fromkeys(match.group(1 if match.re.groups else 0) for match in found))


def find_ccds(ra, dec, exposures: Mapping[str, Sequence], frame: Frame) -> dict[str, np.ndarray]:
    """CCD of each exposure that sees each object.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Positions of the objects, degrees; what is not finite is seen by none.
    exposures : mapping of str to sequence of WCS
        WCS of the CCDs of each exposure; an empty sequence where they are not known.
    frame : Frame
        Part of the CCDs that counts.

    Returns
    -------
    dict of str to ndarray of int32, shape (n,)
        Number of the CCD, -1 where the object is on none; the first of several.
    """
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    tree = cKDTree(wcs.unit_vectors(ra[known], dec[known])) if len(known) else None
    found = {}
    for name, ccds in exposures.items():
        found[name] = np.full(len(ra), NOT_SEEN, np.int32)
        for number, solution in enumerate(ccds if tree else ()):
            near = known[_within(tree, solution, frame)]
            near = near[found[name][near] == NOT_SEEN]
            x, y = wcs.world_to_pixel(solution, ra[near], dec[near])
            found[name][near[frame.holds(x, y)]] = number
    return found


def epoch_tables(numbers, ccds: Mapping[str, np.ndarray]) -> dict[str, Table]:
    """Tables EPOCH_0, EPOCH_1 ... of all objects, one for each exposure."""
    tables = {}
    for i, (name, ccd) in enumerate(ccds.items()):
        names = np.full(len(ccd), name, dtype=f"S{len(name)}")
        tables[f"EPOCH_{i}"] = Table({"NUMBER": np.asarray(numbers), "EXP_NAME": names,
                                      "CCD_N": ccd.astype(np.int32)},
                                     descriptions=_MEANING)  # fmt: skip
    return tables


def count_epochs(ccds: Mapping[str, np.ndarray], n_objects: int) -> np.ndarray:
    """Number of exposures that see each object, shape (n,), int32."""
    return sum((ccd >= 0 for ccd in ccds.values()), np.zeros(n_objects, np.int32)).astype(np.int32)


_MEANING = {
    "NUMBER": "number of the object",
    "EXP_NAME": "name of the exposure",
    "CCD_N": "CCD that sees the object, counted from 0; -1 if none",
}


def _within(tree, solution, frame):
    """Objects of the tree that may be on a CCD."""
    x = (frame.x_min - _MARGIN, frame.x_max + _MARGIN)
    y = (frame.y_min - _MARGIN, frame.y_max + _MARGIN)
    outline = wcs.outline(solution, x, y)
    edge = wcs.unit_vectors(outline.ra, outline.dec)
    reach = np.linalg.norm(edge - outline.centre, axis=1).max()
    near = np.array(tree.query_ball_point(outline.centre, reach, return_sorted=True), int)
    points = tree.data[near]
    ra, dec = np.degrees([np.arctan2(points[:, 1], points[:, 0]), np.arcsin(points[:, 2])])
    return near[outline.contains(ra, dec)]
