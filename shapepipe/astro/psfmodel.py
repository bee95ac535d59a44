"""PSFEx models: read a ``.psf`` file and evaluate it at many positions of a CCD at once.

A PSFEx model is a set of basis images and a polynomial in the position; the PSF at a place is the
sum of the basis images weighted by the monomials. Shapes are measured in `moments`; nothing here
opens a catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shapepipe.astro import fits
from shapepipe.errors import BadInput

HDU_NAME = "PSF_DATA"
COLUMN = "PSF_MASK"
PSFEX_ORDER = 3  # half-width in samples of the Lanczos kernel by which PSFEx resamples (vignet.h)
SHIFT_ORDER = 4  # that of the kernel by which stamps are moved here
_NODES = 80  # of the integral over the kernel, which is right to 1e-12 with them


@dataclass(frozen=True)
class PSFModel:
    """PSFEx model of one CCD.

    Attributes
    ----------
    basis : numpy.ndarray
        Basis images, shape (n_basis, ny, nx), float32; the centre is at index (ny // 2, nx // 2).
    degree : int
        Degree of the polynomial; 0 is one PSF for the whole CCD.
    zero, scale : tuple of float
        Offset and scale of the two position variables, 1-based pixels.
    names : tuple of str
        Catalogue columns of the position; empty for a constant model.
    sampling : float
        Step of the basis images in image pixels (PSF_SAMP).
    loaded, accepted : int
        Stars given to PSFEx, and those that it kept.
    chi2 : float
        Reduced chi-square of the fit.
    path : str
        The file.
    """

    basis: np.ndarray = field(repr=False)
    degree: int = 0
    zero: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    names: tuple[str, ...] = ()
    sampling: float = 1.0
    loaded: int = 0
    accepted: int = 0
    chi2: float = float("nan")
    path: str = ""

    def polynomial(self, x, y) -> np.ndarray:
        """Monomials that weight the basis images.

        Parameters
        ----------
        x, y : numpy.ndarray
            Positions, shape (n,), 0-based pixels.

        Returns
        -------
        numpy.ndarray
            Shape (n, n_basis), in the order of PSFEx: x^0 .. x^d, then y x^0 .. y x^(d-1), up to
            y^d [1]_, with x and y offset and scaled.

        References
        ----------
        .. [1] Bertin 2011, ADASS XX, ASPC 442, 435; PSFEx user's guide, "Modelling the PSF
           variations".
        """
        u = (np.atleast_1d(np.asarray(x, float)) + 1.0 - self.zero[0]) / self.scale[0]
        v = (np.atleast_1d(np.asarray(y, float)) + 1.0 - self.zero[1]) / self.scale[1]
        powers = [(i, j) for j in range(self.degree + 1) for i in range(self.degree + 1 - j)]
        return np.stack([u**i * v**j for i, j in powers], axis=-1)

    def evaluate(self, x, y) -> np.ndarray:
        """PSF images at positions, centred on the stamp, in pixels of the model's sampling.

        With `on_pixels` applied before, these are image pixels.

        Parameters
        ----------
        x, y : numpy.ndarray
            Positions, shape (n,), 0-based pixels.

        Returns
        -------
        numpy.ndarray
            Shape (n, ny, nx), float32.
        """
        weights = self.polynomial(x, y).astype(np.float32)
        flat = self.basis.reshape(len(self.basis), -1)
        return (weights @ flat).reshape(len(weights), *self.basis.shape[1:])

    def on_pixels(self, shape: tuple[int, int] | None = None) -> PSFModel:
        """Same model with its basis images on the pixel grid of the image.

        The basis is resampled once, which serves every position because resampling is linear.
        A model that has the sampling of the image is left as it is, to the bit.

        Parameters
        ----------
        shape : tuple of int, optional
            Rows and columns of the stamps; the shape of the basis images by default. Pixels beyond
            the extent of the model are 0.

        See Also
        --------
        smooth_matrix : the kernel, and why it is not the plain one of PSFEx.
        """
        shape = shape or self.basis.shape[1:]
        if self.sampling == 1.0 and tuple(shape) == self.basis.shape[1:]:
            return self
        matrix = kernel_matrix if self.sampling == 1.0 else smooth_matrix
        rows, columns = (
            matrix((np.arange(n) - n // 2) / self.sampling + size // 2, size)
            for n, size in zip(shape, self.basis.shape[1:], strict=True)
        )
        # values are flux per image pixel whatever the sampling, so no factor of sampling^2 is due
        basis = np.einsum("ab,kbc,dc->kad", rows, self.basis, columns, optimize=True)
        return replace(self, basis=basis.astype(np.float32), sampling=1.0)


def smooth_matrix(places, n_samples: int) -> np.ndarray:
    """Weights that bring PSFEx samples to other places, cut at the Nyquist frequency.

    PSFEx fits its samples c so that the pixel of a star at x is sum_k c_k L(x / s - k), with the
    Lanczos-3 function L and the step s; over many stars, at all fractions of a pixel, the sum is
    right on average. At a given fraction it is not: at the samples themselves it is c, sharper or
    wider than the PSF by what L lacks or adds. What stars of all fractions have in common is that
    sum without the images that L leaves beyond the Nyquist frequency of the samples: L is replaced
    by its convolution with sinc, the same at every fraction.

    Parameters
    ----------
    places : array-like
        Where the values are wanted, in units of samples, sample 0 at 0; shape (n_out,).
    n_samples : int
        Number of samples; beyond them the function is 0.

    Returns
    -------
    numpy.ndarray
        Shape (n_out, n_samples). Rows sum to 0.997, as those of PSFEx do on average.

    References
    ----------
    Bertin 2011, ADASS XX, ASPC 442, 435 (the fit); Bernstein & Gruen 2014, PASP 126, 287 (what
    interpolating kernels do to Fourier modes).
    """
    places = np.asarray(places, float)
    u, weight = np.polynomial.legendre.leggauss(_NODES)
    u, weight = PSFEX_ORDER * u, PSFEX_ORDER * weight
    kernel = weight * np.sinc(u) * np.sinc(u / PSFEX_ORDER)
    distance = places[:, None] - np.arange(n_samples)
    inside = (places > -0.5) & (places < n_samples - 0.5)
    return np.where(inside[:, None], np.sinc(distance[..., None] - u) @ kernel, 0.0)


def kernel_matrix(places, n_samples: int) -> np.ndarray:
    """Weights that interpolate a sampled function at other places (Lanczos-4, sum 1).

    Parameters
    ----------
    places : array-like
        Where the values are wanted, in units of samples, sample 0 at 0; shape (..., n_out).
    n_samples : int
        Number of samples; beyond them the function is 0.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_out, n_samples).

    References
    ----------
    Duchon 1979, J. Appl. Meteor. 18, 1016 (the window). Weights are divided by their sum.
    """
    places = np.asarray(places, float)[..., None]
    reach = np.arange(1 - SHIFT_ORDER, SHIFT_ORDER + 1)
    samples = np.floor(places) + reach
    distance = places - samples
    weights = np.sinc(distance) * np.sinc(distance / SHIFT_ORDER)
    weights /= weights.sum(axis=-1, keepdims=True)
    matrix = np.zeros((*places.shape[:-1], n_samples))
    inside = (samples >= 0) & (samples < n_samples)
    index = np.where(inside, samples, 0).astype(int)
    weights = np.where(inside, weights, 0.0)
    for k in range(len(reach)):  # added, since samples outside all point at sample 0
        chosen = index[..., k : k + 1]
        value = np.take_along_axis(matrix, chosen, -1) + weights[..., k : k + 1]
        np.put_along_axis(matrix, chosen, value, -1)
    return matrix


def shift(stamps, dx, dy) -> np.ndarray:
    """Move each stamp by its own fraction of a pixel (Lanczos-4).

    Parameters
    ----------
    stamps : numpy.ndarray
        Shape (n, ny, nx).
    dx, dy : numpy.ndarray
        Shape (n,), pixels, positive towards larger x and y.

    Returns
    -------
    numpy.ndarray
        Shape (n, ny, nx).
    """
    n_rows, n_columns = stamps.shape[1:]
    rows = kernel_matrix(np.arange(n_rows) - np.asarray(dy, float)[:, None], n_rows)
    columns = kernel_matrix(np.arange(n_columns) - np.asarray(dx, float)[:, None], n_columns)
    return rows @ stamps @ columns.transpose(0, 2, 1)


def read_psf(path: str | Path) -> PSFModel:
    """Read a PSFEx ``.psf`` file.

    Raises
    ------
    BadInput
        If the file is no PSFEx model, contradicts itself, or varies with something else than the
        two pixel coordinates in one group of the polynomial.
    """
    with fits.open_hdus(path) as hdus:
        header, cube = _model_table(path, hdus)
    n_axes = _card(path, header, "POLNAXIS", int, len(header["POLNAME*"]))
    degree = _degree(path, header, n_axes)
    basis = _basis(path, header, cube, degree)
    sampling = _card(path, header, "PSF_SAMP", float)
    if not (np.isfinite(sampling) and sampling > 0):
        raise BadInput(
            path, f"HDU {HDU_NAME}: PSF_SAMP = {sampling}", "a positive number of pixels"
        )
    places = {}
    if n_axes:
        places = {
            "names": tuple(_card(path, header, f"POLNAME{i}", str).strip() for i in (1, 2)),
            "zero": tuple(_card(path, header, f"POLZERO{i}", float) for i in (1, 2)),
            "scale": tuple(_card(path, header, f"POLSCAL{i}", float) for i in (1, 2)),
        }
        _check_places(path, **places)
    return PSFModel(
        basis=basis,
        degree=degree,
        sampling=sampling,
        loaded=_card(path, header, "LOADED", int, 0),
        accepted=_card(path, header, "ACCEPTED", int, 0),
        chi2=_card(path, header, "CHI2", float, float("nan")),
        path=str(path),
        **places,
    )


def _model_table(path, hdus):
    """Header and cube of the first table that holds basis images."""
    for hdu in hdus[1:]:
        if not hdu.is_image and COLUMN in (name.upper() for name in hdu.columns.names):
            fits.check_complete(path, hdus, hdu)
            if len(hdu.data) != 1:
                raise BadInput(
                    path, f"HDU {HDU_NAME} has {len(hdu.data)} rows", "one row, one CCD per file"
                )
            return hdu.header, np.array(hdu.data[COLUMN][0], np.float32)
    raise BadInput(path, f"no table with a column {COLUMN}", f"HDU {HDU_NAME} written by PSFEx")


def _degree(path, header, n_axes) -> int:
    if n_axes == 0:
        return 0
    groups = _card(path, header, "POLNGRP", int, 1)
    if n_axes != 2 or groups != 1:
        raise BadInput(
            path,
            f"HDU {HDU_NAME}: {n_axes} parameters (POLNAXIS) in {groups} groups (POLNGRP)",
            "two pixel coordinates in one group, as with two PSFVAR_KEYS and PSFVAR_GROUPS 1,1",
        )
    degree = _card(path, header, "POLDEG1", int)
    if degree < 0:
        raise BadInput(path, f"HDU {HDU_NAME}: POLDEG1 = {degree}", "0 or more")
    return degree


def _basis(path, header, cube, degree) -> np.ndarray:
    """Basis images, checked against the header and the polynomial."""
    cube = cube[None] if cube.ndim == 2 else cube
    if cube.ndim != 3:
        raise BadInput(path, f"HDU {HDU_NAME}, column {COLUMN} has {cube.ndim} dimensions", "3")
    for axis, length in zip((1, 2, 3), cube.shape[::-1], strict=True):
        stated = _card(path, header, f"PSFAXIS{axis}", int, length)
        if stated != length:
            raise BadInput(
                path,
                f"HDU {HDU_NAME}: PSFAXIS{axis} = {stated}, but {COLUMN} has {length}",
                "equal",
            )
    expected = (degree + 1) * (degree + 2) // 2
    if len(cube) != expected:
        raise BadInput(
            path,
            f"HDU {HDU_NAME}, column {COLUMN}: {len(cube)} images",
            f"{expected} for degree {degree}",
        )
    if not np.isfinite(cube).all() or not cube[0].any():
        raise BadInput(
            path, f"HDU {HDU_NAME}, column {COLUMN}: empty or not finite", "finite numbers"
        )
    return cube


def _check_places(path, names, zero, scale):
    for axis, name in zip((1, 2), names, strict=True):
        if not name.upper().endswith("_IMAGE") or name.upper()[0] not in "XY":
            raise BadInput(
                path,
                f"HDU {HDU_NAME}: POLNAME{axis} = {name!r}",
                "pixel positions such as XWIN_IMAGE",
            )
    if not np.isfinite([*zero, *scale]).all() or 0.0 in scale:
        raise BadInput(
            path, f"HDU {HDU_NAME}: POLZERO {zero}, POLSCAL {scale}", "finite, POLSCAL not 0"
        )


def _card(path, header, name, kind, default=None):
    """Value of a card as `kind`; an error that names the card if it is missing or odd."""
    value = header.get(name, default)
    try:
        return kind(value) if value is not None else _missing(path, name)
    except (TypeError, ValueError):
        raise BadInput(path, f"HDU {HDU_NAME}: {name} = {value!r}", kind.__name__) from None


def _missing(path, name):
    raise BadInput(path, f"HDU {HDU_NAME}: no card {name}", "a model written by PSFEx")
