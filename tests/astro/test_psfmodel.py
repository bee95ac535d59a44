"""PSFEx models: reading, evaluation, resampling."""

import galsim
import galsim.des
import numpy as np
import pytest
from astropy.io import fits

from shapepipe.astro import moments, psfmodel
from shapepipe.errors import BadInput


def model_table(degree=2, size=51, sampling=1.0, sigma=2.3, **cards):
    """Table HDU as PSFEx writes it; `sigma` in image pixels."""
    n_basis = (degree + 1) * (degree + 2) // 2
    rows, columns = np.indices((size, size)) - size // 2
    rng = np.random.default_rng(degree + size)
    basis = np.empty((n_basis, size, size), np.float32)
    for k in range(n_basis):
        g1, g2 = rng.normal(scale=0.05, size=2)
        radius2 = (1 - g1) * columns**2 + (1 + g1) * rows**2 - 2 * g2 * rows * columns
        profile = np.exp(-0.5 * radius2 * (sampling / sigma) ** 2) / (2 * np.pi * sigma**2)
        basis[k] = profile if k == 0 else 0.02 * profile * rng.normal()
    column = fits.Column("PSF_MASK", f"{basis.size}E", dim=f"({size},{size},{n_basis})",
                         array=basis[None])  # fmt: skip
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    places = {
        "POLNAXIS": 2, "POLGRP1": 1, "POLNAME1": "XWIN_IMAGE", "POLZERO1": 1024.5,
        "POLSCAL1": 2040.0, "POLGRP2": 1, "POLNAME2": "YWIN_IMAGE", "POLZERO2": 2306.25,
        "POLSCAL2": 4600.0, "POLNGRP": 1, "POLDEG1": degree,
    }  # fmt: skip
    hdu.header.update(places if degree else {"POLNAXIS": 0, "POLNGRP": 0})
    hdu.header.update({
        "LOADED": 70, "ACCEPTED": 60, "CHI2": 1.1, "PSF_FWHM": 5.4, "PSF_SAMP": sampling,
        "PSFNAXIS": 3, "PSFAXIS1": size, "PSFAXIS2": size, "PSFAXIS3": n_basis,
    })  # fmt: skip
    for name, value in cards.items():
        if value is None:
            del hdu.header[name]
        else:
            hdu.header[name] = value
    return hdu


def write(path, hdu):
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def positions():
    rng = np.random.default_rng(3)
    return rng.uniform(0, 2047, 40), rng.uniform(0, 4611, 40)


@pytest.mark.parametrize(("degree", "size"), [(1, 51), (2, 51), (3, 32), (5, 25)])
def test_agrees_with_galsim(tmp_path, positions, degree, size):
    hdu = model_table(degree, size)
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu))
    reference = galsim.des.DES_PSFEx(hdu)
    x, y = positions
    stamps = model.evaluate(x, y)
    expected = [
        reference.getPSFArray(galsim.PositionD(one_based_x, one_based_y))
        for one_based_x, one_based_y in zip(x + 1, y + 1, strict=True)
    ]
    assert np.abs(stamps - expected).max() < 1e-6 * np.max(expected)


def test_polynomial_follows_the_definition_of_psfex(tmp_path):
    hdu = model_table(2)
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu))
    x, y = 100.0, 4000.0
    u, v = (x + 1 - 1024.5) / 2040.0, (y + 1 - 2306.25) / 4600.0
    np.testing.assert_allclose(model.polynomial([x], [y])[0], [1, u, u * u, v, v * u, v * v])
    by_hand = np.tensordot([1, u, u * u, v, v * u, v * v], hdu.data["PSF_MASK"][0], 1)
    assert np.abs(model.evaluate([x], [y])[0] - by_hand).max() < 1e-6 * by_hand.max()


def test_facts_of_the_fit_are_read(tmp_path):
    model = psfmodel.read_psf(write(tmp_path / "a.psf", model_table(2)))
    assert (model.loaded, model.accepted, model.chi2) == (70, 60, 1.1)
    assert model.names == ("XWIN_IMAGE", "YWIN_IMAGE")


def test_constant_model_is_the_same_everywhere(tmp_path, positions):
    hdu = model_table(0)
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu))
    stamps = model.evaluate(*positions)
    assert stamps.shape == (40, 51, 51)
    assert model.names == ()
    assert (stamps == hdu.data["PSF_MASK"][0][0]).all()


def test_constant_model_without_third_axis(tmp_path):
    hdu = model_table(0, size=25)
    flat = fits.Column("PSF_MASK", "625E", dim="(25,25)", array=hdu.data["PSF_MASK"][:, 0])
    table = fits.BinTableHDU.from_columns([flat], header=hdu.header, name="PSF_DATA")
    model = psfmodel.read_psf(write(tmp_path / "a.psf", table))
    assert model.evaluate([5.0], [6.0]).shape == (1, 25, 25)


def test_no_positions_give_no_stamps(tmp_path):
    model = psfmodel.read_psf(write(tmp_path / "a.psf", model_table(2)))
    assert model.evaluate([], []).shape == (0, 51, 51)


def fitted_samples(sigma, size, sampling):
    """Samples of a Gaussian as PSFEx fits them: to stars at all fractions of a pixel, by Lanczos-3.

    Along one axis; the image is the product of two.
    """
    half = int(sampling * (size // 2)) - 3
    x = np.concatenate([np.arange(-half, half + 1) - shift for shift in np.linspace(-0.5, 0.5, 41)])
    distance = x[:, None] / sampling + size // 2 - np.arange(size)
    kernel = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    star = np.exp(-0.5 * (x / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
    return np.linalg.lstsq(kernel, star, rcond=None)[0]


def fitted_table(size, sampling, sigma_x, sigma_y):
    """Table of a constant model of an elliptical Gaussian."""
    hdu = model_table(0, size, sampling)
    along_x, along_y = (fitted_samples(sigma, size, sampling) for sigma in (sigma_x, sigma_y))
    hdu.data["PSF_MASK"][0, 0] = np.outer(along_y, along_x)
    return hdu


@pytest.mark.parametrize("sampling", [0.45, 0.8, 1.3])
@pytest.mark.parametrize("size", [50, 51])
@pytest.mark.parametrize("shape", [(41, 41), (40, 44)])
def test_sampling_is_honoured_and_stamps_are_centred(tmp_path, sampling, size, shape):
    hdu = fitted_table(size, sampling, 2.0, 2.0)
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu)).on_pixels(shape)
    stamp = model.evaluate([7.0], [8.0])
    assert stamp.shape[1:] == shape
    assert model.sampling == 1.0
    found = moments.measure(stamp)
    assert (found.x[0], found.y[0]) == pytest.approx((shape[1] // 2, shape[0] // 2), abs=1e-4)
    assert found.flux[0] == pytest.approx(1.0, rel=3e-4)
    # of a Gaussian sampled at points, so that the moments are exact
    assert found.sigma[0] == pytest.approx(2.0, rel=2e-4)
    assert np.hypot(found.g1[0], found.g2[0]) < 1e-4


@pytest.mark.parametrize("sampling", [0.5, 0.7, 0.8, 0.93])
def test_samples_fitted_by_psfex_give_the_size_and_shape_of_the_stars(tmp_path, sampling):
    hdu = fitted_table(51, sampling, 1.65, 1.5)  # a FWHM of 3.7 pixels
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu))
    found = moments.measure(model.on_pixels((45, 45)).evaluate([0.0], [0.0]))
    assert found.sigma[0] ** 2 == pytest.approx(1.65 * 1.5, rel=3e-4)
    assert found.g1[0] == pytest.approx(0.15 / 3.15, abs=2e-4)
    assert found.g2[0] == pytest.approx(0.0, abs=1e-5)


def test_samples_at_the_pixels_of_the_image_stay_as_they_are(tmp_path):
    hdu = model_table(1, 51, 1.0)
    model = psfmodel.read_psf(write(tmp_path / "a.psf", hdu))
    cut, whole = (model.on_pixels(shape).evaluate([9.0], [70.0]) for shape in ((41, 43), (51, 51)))
    np.testing.assert_allclose(cut, whole[:, 5:46, 4:47], rtol=0, atol=1e-8)
    assert model.on_pixels() is model


def test_model_ends_where_its_samples_end(tmp_path):
    hdu = fitted_table(31, 0.7, 2.0, 2.0)
    stamp = psfmodel.read_psf(write(tmp_path / "a.psf", hdu)).on_pixels((41, 41)).evaluate([0], [0])
    half = int(0.7 * 15.5)
    assert (stamp[0, 20 - half : 21 + half, 20 - half : 21 + half] != 0).all()
    assert not stamp[0, : 20 - half].any()
    assert not stamp[0, :, 21 + half :].any()


def test_shift_moves_the_centroid():
    model = model_table(0, 41, 1.0, sigma=2.0).data["PSF_MASK"][0]
    dx, dy = np.array([0.3, -1.25]), np.array([-0.45, 2.0])
    found = moments.measure(psfmodel.shift(np.repeat(model, 2, axis=0), dx, dy))
    # the Lanczos kernel itself is wrong by up to 0.006 pixel in the first moment
    np.testing.assert_allclose(found.x, 20 + dx, atol=8e-3)
    np.testing.assert_allclose(found.y, 20 + dy, atol=8e-3)


def test_kernel_is_exact_at_the_samples():
    np.testing.assert_allclose(psfmodel.kernel_matrix(np.arange(9), 9), np.eye(9), atol=1e-15)


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"PSFAXIS3": 3}, "PSFAXIS3 = 3, but PSF_MASK has 6"),
        ({"POLDEG1": 3}, "6 images (allowed: 10 for degree 3)"),
        ({"POLDEG1": None}, "no card POLDEG1"),
        ({"POLNGRP": 2}, "in 2 groups"),
        ({"POLNAXIS": 3}, "3 parameters"),
        ({"POLSCAL2": 0.0}, "POLSCAL not 0"),
        ({"PSF_SAMP": None}, "no card PSF_SAMP"),
        ({"PSF_SAMP": -1.0}, "PSF_SAMP = -1.0"),
        ({"POLNAME1": "MAG_AUTO"}, "POLNAME1 = 'MAG_AUTO'"),
        ({"CHI2": "bad"}, "CHI2 = 'bad'"),
    ],
)
def test_invalid_model_is_named(tmp_path, cards, said):
    path = write(tmp_path / "bad.psf", model_table(2, **cards))
    with pytest.raises(BadInput) as error:
        psfmodel.read_psf(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_model_that_is_not_finite_is_refused(tmp_path):
    hdu = model_table(2)
    hdu.data["PSF_MASK"][0, 3, 20, 20] = np.nan
    with pytest.raises(BadInput, match="not finite"):
        psfmodel.read_psf(write(tmp_path / "bad.psf", hdu))


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = write(tmp_path / "cut.psf", model_table(2))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(BadInput, match="cut"):
        psfmodel.read_psf(path)
    (tmp_path / "text.psf").write_text("no model")
    with pytest.raises(BadInput, match="not a FITS file"):
        psfmodel.read_psf(tmp_path / "text.psf")
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.psf")
    with pytest.raises(BadInput, match="no table with a column PSF_MASK"):
        psfmodel.read_psf(tmp_path / "image.psf")
