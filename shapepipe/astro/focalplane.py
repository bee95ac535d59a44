"""Geometry of the focal plane, learned from stars with pixel and sky positions; maps over it.

Focal-plane coordinates are pixels of one reference CCD, continued over the others, so that rotated
and shifted CCDs appear as they are in the camera. Drawing is in `focalplots`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_STARS = 4  # an affine map has three unknowns per axis; one star more than that
LEAST_AREA = 0.01  # of the CCD, that the stars must spread over to fix the map
_NOWHERE = np.full((2, 3), np.nan)


@dataclass(frozen=True)
class Frames:
    """Affine maps from the pixels of each CCD of each exposure to the sky.

    Attributes
    ----------
    of_star : numpy.ndarray
        Index of each star's map, shape (n_stars,).
    exposure, ccd : numpy.ndarray
        Of each map, shape (n_maps,); `exposure` is an index.
    affine : numpy.ndarray
        Shape (n_maps, 2, 3): degrees to the east and north on the plane that touches the sky at
        the exposure's centre, = affine @ (x, y, 1); nan if the stars do not fix it.
    """

    of_star: np.ndarray
    exposure: np.ndarray
    ccd: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Where each CCD lies in the focal plane.

    Attributes
    ----------
    ccds : numpy.ndarray
        CCD numbers, shape (n_ccds,), ascending.
    affine : numpy.ndarray
        Shape (n_ccds, 2, 3): focal-plane position = affine @ (x, y, 1), 0-based pixels.
    size : tuple of float
        Columns and rows of a CCD.
    from_sky : bool
        False if the CCDs are only put side by side in the order of their numbers.
    """

    ccds: np.ndarray
    affine: np.ndarray
    size: tuple[float, float]
    from_sky: bool

    def corners(self) -> np.ndarray:
        """Corners of each CCD in focal-plane pixels, shape (n_ccds, 4, 2)."""
        nx, ny = self.size
        pixels = np.array([[0, 0, 1], [nx, 0, 1], [nx, ny, 1], [0, ny, 1]], float) - [0.5, 0.5, 0]
        return np.einsum("kab,cb->kca", self.affine, pixels)


def fit_frames(exposure, ccd, x, y, ra, dec) -> Frames:
    """Fit the affine map of every CCD of every exposure.

    Parameters
    ----------
    exposure, ccd : numpy.ndarray
        Exposure name and CCD number of each star, shape (n,).
    x, y : numpy.ndarray
        Positions, shape (n,), 0-based pixels.
    ra, dec : numpy.ndarray
        Positions, shape (n,), degrees.
    """
    exposure = np.unique(exposure, return_inverse=True)[1]
    keys, of_star = np.unique(np.stack([exposure, ccd]), axis=1, return_inverse=True)
    of_star = of_star.reshape(-1)
    plane = _tangent_plane(exposure, ra, dec)
    area = np.ptp(x) * np.ptp(y) if len(x) else 0.0
    order = np.argsort(of_star, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(of_star, minlength=keys.shape[1]))[:-1])
    affine = [_fit_affine(x[part], y[part], plane[part], LEAST_AREA * area) for part in parts]
    return Frames(of_star, keys[0], keys[1], np.array(affine).reshape(-1, 2, 3))


def lay_out(frames: Frames, size: tuple[float, float]) -> Layout:
    """Place the CCDs as they lie on the sky.

    Exposures may be anywhere and turned at will: CCDs are placed relative to each other within
    each exposure, and the median over exposures is taken. CCDs with too few stars go in a row
    below. If CCDs overlap on the sky, as in drift scans, all are put side by side.

    Parameters
    ----------
    frames : Frames
        Maps to the sky.
    size : tuple of float
        Columns and rows of a CCD.
    """
    ccds = np.unique(frames.ccd)
    placed = _place_all(frames, size)
    if not placed or _overlap(placed, size):
        return Layout(ccds, _side_by_side(len(ccds), size), size, False)
    layout = Layout(ccds, np.array([placed.get(ccd, _NOWHERE) for ccd in ccds]), size, True)
    loose = ~np.isfinite(layout.affine).all(axis=(1, 2))
    if loose.any():
        row = _side_by_side(loose.sum(), size, per_row=loose.sum())
        row[:, :, 2] += np.nanmin(layout.corners(), axis=(0, 1)) - [0, 1.2 * size[1]]
        layout.affine[loose] = row
    return layout


def turn(g, linear) -> np.ndarray:
    """Ellipticities in a frame that is turned, or mirrored, with respect to the pixels.

    The rotation nearest to the linear map is used; its shear and scale are not removed.

    Parameters
    ----------
    g : numpy.ndarray
        Shape (n, 2), pixel frame.
    linear : numpy.ndarray
        Shape (n, 2, 2), from pixels to the new frame.

    Returns
    -------
    numpy.ndarray
        Shape (n, 2).
    """
    (a, b), (c, d) = np.moveaxis(np.asarray(linear, float), 0, -1)
    parity = np.sign(a * d - b * c)
    angle = np.arctan2(c - parity * b, a + parity * d)
    turned = (g[:, 0] + 1j * parity * g[:, 1]) * np.exp(2j * angle)
    return np.stack([turned.real, turned.imag], axis=-1)


def sky_shapes(g, frames: Frames) -> np.ndarray:
    """Ellipticities with x to the west and y to the north; nan where the map is not known.

    Parameters
    ----------
    g : numpy.ndarray
        Shape (n_stars, 2), pixel frame.
    frames : Frames
        Maps to the sky, of the same stars.
    """
    to_east_north = frames.affine[frames.of_star][:, :, :2]
    return turn(g, to_east_north * np.array([[-1.0], [1.0]]))


def bin_mean(layout: Layout, ccd, x, y, values, n_cells: tuple[int, int]) -> np.ndarray:
    """Mean of values in the cells of each CCD.

    Parameters
    ----------
    layout : Layout
        CCDs and their size.
    ccd, x, y : numpy.ndarray
        CCD number and 0-based pixel position, shape (n,).
    values : numpy.ndarray
        Shape (n,) or (n, m).
    n_cells : tuple of int
        Cells along columns and rows of a CCD.

    Returns
    -------
    numpy.ndarray
        Shape (n_ccds, n_cells[1], n_cells[0]) or (n_ccds, n_cells[1], n_cells[0], m); nan in empty
        cells.
    """
    values = np.asarray(values, float)
    columns, rows = (
        np.clip(((np.asarray(place) + 0.5) / size * n).astype(int), 0, n - 1)
        for place, size, n in zip((x, y), layout.size, n_cells, strict=True)
    )
    shape = (len(layout.ccds), n_cells[1], n_cells[0])
    cell = np.ravel_multi_index((np.searchsorted(layout.ccds, ccd), rows, columns), shape)
    count = np.bincount(cell, minlength=np.prod(shape))
    sums = [
        np.bincount(cell, component, minlength=len(count))
        for component in values.reshape(len(values), -1).T
    ]
    with np.errstate(invalid="ignore"):
        means = (np.array(sums) / count).T
    return means.reshape(shape + values.shape[1:])


def _tangent_plane(exposure, ra, dec):
    """Gnomonic projection of each star about the centre of its exposure; (n, 2), degrees."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    stars = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    centre = np.stack([np.bincount(exposure, np.nan_to_num(part)) for part in stars])
    centre /= np.maximum(np.linalg.norm(centre, axis=0), 1e-12)
    ra0, dec0 = np.arctan2(centre[1], centre[0]), np.arcsin(np.clip(centre[2], -1, 1))
    east = np.stack([-np.sin(ra0), np.cos(ra0), 0 * ra0])
    north = np.stack([-np.sin(dec0) * np.cos(ra0), -np.sin(dec0) * np.sin(ra0), np.cos(dec0)])
    depth = (stars * centre[:, exposure]).sum(axis=0)
    plane = [(stars * axis[:, exposure]).sum(axis=0) / depth for axis in (east, north)]
    return np.degrees(np.stack(plane, axis=-1))


def _fit_affine(x, y, plane, least_area):
    """Least-squares affine map (2, 3), or nan."""
    known = np.isfinite(plane).all(axis=1)
    if known.sum() < MIN_STARS:
        return np.full((2, 3), np.nan)
    x, y, plane = x[known], y[known], plane[known]
    design = np.stack([x - x.mean(), y - y.mean(), np.ones(len(x))], axis=-1)
    spread = np.linalg.svd(design[:, :2], compute_uv=False)
    if spread.prod() / len(x) < least_area / 12:  # variance of a uniform distribution
        return np.full((2, 3), np.nan)
    solution = np.linalg.lstsq(design, plane, rcond=None)[0].T
    if not np.linalg.det(solution[:, :2]):
        return np.full((2, 3), np.nan)
    solution[:, 2] -= solution[:, :2] @ [x.mean(), y.mean()]
    return solution


def _place_all(frames, size):
    """Focal-plane map of each CCD that can be tied to the reference; dict CCD -> (2, 3)."""
    good = np.isfinite(frames.affine).all(axis=(1, 2))
    maps: dict = {}
    for exposure, ccd, affine in zip(
        frames.exposure[good], frames.ccd[good], frames.affine[good], strict=True
    ):
        maps.setdefault(exposure, {})[ccd] = _square(affine)
    if not maps:
        return {}
    placed = {_reference(frames, good, size): np.eye(3)}
    while True:
        candidates: dict = {}
        for members in maps.values():
            tied = [ccd for ccd in placed if ccd in members]  # in the order of placing
            for ccd in members if tied else ():
                if ccd not in placed:
                    link = placed[tied[0]] @ np.linalg.inv(members[tied[0]]) @ members[ccd]
                    candidates.setdefault(ccd, []).append(link)
        if not candidates:
            return {ccd: square[:2] for ccd, square in placed.items()}
        placed.update({ccd: np.median(links, axis=0) for ccd, links in candidates.items()})


def _reference(frames, good, size):
    """CCD seen in most exposures; of these the one nearest to the centres of the exposures."""
    ccds, count = np.unique(frames.ccd[good], return_counts=True)
    middle = frames.affine[good] @ [size[0] / 2, size[1] / 2, 1]
    distance = np.bincount(np.searchsorted(ccds, frames.ccd[good]), np.hypot(*middle.T)) / count
    return ccds[np.lexsort((distance, -count))[0]]


def _side_by_side(n_ccds, size, per_row=None):
    """Maps of CCDs in rows, in the order of their numbers; the whole is about as wide as high."""
    per_row = per_row or int(np.ceil(np.sqrt(n_ccds * size[1] / size[0])))
    rank = np.arange(n_ccds)
    affine = np.tile(np.eye(2, 3), (n_ccds, 1, 1))
    affine[:, 0, 2] = 1.04 * size[0] * (rank % per_row)
    affine[:, 1, 2] = 1.04 * size[1] * (rank // per_row)
    return affine


def _square(affine):
    return np.vstack([affine, [0, 0, 1]])


def _overlap(placed, size) -> bool:
    """Whether two CCDs are nearer to each other than half of their shorter side."""
    middles = np.array([affine @ [size[0] / 2, size[1] / 2, 1] for affine in placed.values()])
    distances = np.hypot(*np.moveaxis(middles[:, None] - middles[None], -1, 0))
    np.fill_diagonal(distances, np.inf)
    return bool(distances.min() < min(size) / 2)
