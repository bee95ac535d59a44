"""Mosaics to CCDs: pixels, headers, flags, coordinates; and the ways in which a mosaic is bad."""

import gzip
import subprocess

import numpy as np
import pytest
from astropy.io import fits as afits

from shapepipe.astro import fits, sip
from shapepipe.astro import wcs as sky
from shapepipe.errors import ConfigurationError
from shapepipe.modules.split_exp_runner import split_exp_runner
from shapepipe.testing import trial

SHAPE, N_CCD, NUMBER = (60, 40), 3, "-2366993"
OPTIONS = {"OUTPUT_SUFFIX": "image, weight, flag", "N_HDU": str(N_CCD)}


def ccd_header(ccd, kind="TPV"):
    """Coordinates of a CCD; PV cards where the projection has them."""
    pv = {"PV1_1": 1.001, "PV1_7": 0.02, "PV2_1": 0.999, "PV2_10": -0.01} if kind == "TPV" else {}
    return afits.Header(
        {"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CRVAL1": 210.0, "CRVAL2": 54.0,
         "CRPIX1": -5000.0 + 50 * ccd, "CRPIX2": 8000.0, "CD1_1": -5.2e-5, "CD1_2": 0.0,
         "CD2_1": 0.0, "CD2_2": 5.2e-5, "GAIN": 1.5 + ccd, **pv}
    )  # fmt: skip


def pixels(role, ccd):
    """Pixels that tell role and CCD."""
    noise = np.random.default_rng([ccd, len(role)]).normal(100 * ccd, 5, SHAPE)
    return (noise > 5).astype("u1") * 2**ccd if role == "flag" else noise.astype("f4")


def make(folder, role, ext=".fits", names=None, kind="TPV", change=None):
    """Write a mosaic of one role; `change(hdus)` may spoil it."""
    hdus = afits.HDUList([afits.PrimaryHDU()])
    for ccd in range(N_CCD):
        data, header = pixels(role, ccd), ccd_header(ccd, kind) if role == "image" else None
        form = afits.ImageHDU
        if ext.endswith("fz"):
            how = {"compression_type": "GZIP_2", "quantize_level": 0} if role != "flag" else {}
            hdus.append(afits.CompImageHDU(data, header, **how))
        else:
            hdus.append(form(data, header))
        if names:
            hdus[-1].name = names[ccd]
    if change:
        change(hdus)
    path = folder / f"{role}{NUMBER}{ext}"
    if ext.endswith(".gz"):
        hdus.writeto(folder / "plain.fits", overwrite=True)
        path.write_bytes(gzip.compress((folder / "plain.fits").read_bytes()))
    else:
        hdus.writeto(path)
    return path


def split(tmp_path, options=None, folder="run", **mosaics):
    """Run the runner on mosaics that are made where none is given."""
    roles = (options or OPTIONS)["OUTPUT_SUFFIX"].replace(" ", "").split(",")
    inputs = {role: mosaics.get(role) or make(tmp_path, role) for role in roles}
    return trial(split_exp_runner, inputs, options or OPTIONS, NUMBER, tmp_path / folder)


def failure(outcome):
    """Error of an outcome that must have failed."""
    assert outcome.status == "failed"
    return outcome.error


@pytest.mark.parametrize("ext", [".fits", ".fits.gz", ".fits.fz", ".fitsfz"])
def test_every_ccd_of_every_role_is_written(tmp_path, ext):
    made = {role: make(tmp_path, role, ext) for role in ("image", "weight", "flag")}
    outcome = split(tmp_path, **made)
    assert outcome.status == "ok", outcome.error
    out = tmp_path / "run" / "output"
    assert len(outcome.products) == 3 * N_CCD + 1
    for ccd in range(N_CCD):
        for role in made:
            data, header = fits.read(out / f"{role}{NUMBER}-{ccd}.fits", 0)
            assert np.array_equal(data, pixels(role, ccd))
            assert data.dtype == ("i2" if role == "flag" else "f4")
        assert fits.read_header(out / f"image{NUMBER}-{ccd}.fits")["GAIN"] == 1.5 + ccd


def test_coordinates_of_images_are_true_for_readers_of_sip_and_of_pv(tmp_path):
    """The SIP solution agrees with TPV to 1 mas; PV cards stay for programs that know no SIP."""
    outcome = split(tmp_path)
    assert outcome.metrics["worst_sip_mas"] < 1
    entries = np.load(tmp_path / "run/output" / f"headers{NUMBER}.npy", allow_pickle=True)
    assert len(entries) == N_CCD
    for ccd, entry in enumerate(entries):
        truth = sky.from_header(ccd_header(ccd))
        assert sip.difference(truth, entry["WCS"], SHAPE) < 1
        text = afits.Header.fromstring(entry["header"])
        assert (text["NAXIS1"], text["NAXIS2"]) == SHAPE[::-1]
        assert sip.difference(truth, sky.from_header(text), SHAPE) < 1
        written = fits.read_header(tmp_path / "run/output" / f"image{NUMBER}-{ccd}.fits")
        assert written["CTYPE1"] == "RA---TAN-SIP" and written["PV1_7"] == 0.02
        pv_only = written.copy()
        pv_only["CTYPE1"], pv_only["CTYPE2"] = "RA---TPV", "DEC--TPV"
        for name in [
            key for key in written if key[:2] in ("A_", "B_") or key[:3] in ("AP_", "BP_")
        ]:
            del pv_only[name]
        assert sip.difference(truth, sky.from_header(pv_only), SHAPE) < 1e-3


@pytest.mark.parametrize(("distortion", "ctype", "has_pv"), [
    ("SIP", "RA---TAN-SIP", False), ("PV", "RA---TPV", True),
])  # fmt: skip
def test_distortion_cards_can_be_chosen(tmp_path, distortion, ctype, has_pv):
    split(tmp_path, OPTIONS | {"DISTORTION": distortion})
    header = fits.read_header(tmp_path / "run/output" / f"image{NUMBER}-0.fits")
    assert header["CTYPE1"] == ctype
    assert bool(sip.pv_cards(header)) is has_pv


def test_images_without_distortion_keep_their_header(tmp_path):
    outcome = split(tmp_path, image=make(tmp_path, "image", kind="TAN"))
    assert outcome.metrics["worst_sip_mas"] == 0
    header = fits.read_header(tmp_path / "run/output" / f"image{NUMBER}-1.fits")
    assert header["CTYPE1"] == "RA---TAN" and "A_ORDER" not in header


@pytest.mark.programs("fpack")
def test_single_image_packed_by_fpack_gives_a_sound_header(tmp_path):
    """Such a header brings SIMPLE along; the text that is kept has it once, at the start."""
    fits.write_image(tmp_path / f"image{NUMBER}.fits", pixels("image", 1), ccd_header(1))
    subprocess.run(["fpack", f"image{NUMBER}.fits"], cwd=tmp_path, check=True)
    options = {"OUTPUT_SUFFIX": "image", "N_HDU": "1"}
    outcome = split(tmp_path, options, image=tmp_path / f"image{NUMBER}.fits.fz")
    assert outcome.status == "ok", outcome.error
    (entry,) = np.load(tmp_path / "run/output" / f"headers{NUMBER}.npy", allow_pickle=True)
    assert entry["header"].startswith("SIMPLE  =") and entry["header"].count("SIMPLE  =") == 1


@pytest.mark.parametrize("ext", [".fits", ".fits.fz"])
def test_unsigned_counts_above_32767_keep_their_values(tmp_path, ext):
    """Raw frames and SDSS frames hold 16 bits without sign, stored with BZERO = 32768."""
    counts = np.linspace(0, 65535, SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint16)

    def store_counts(hdus):
        hdus[1].data = counts

    outcome = split(tmp_path, {"OUTPUT_SUFFIX": "image", "N_HDU": "1"},
                    image=make(tmp_path, "image", ext, change=store_counts))  # fmt: skip
    assert outcome.status == "ok", outcome.error
    with afits.open(tmp_path / "run" / "output" / f"image{NUMBER}-0.fits") as hdus:
        assert hdus[0].header["BZERO"] == 32768 and hdus[0].header["BITPIX"] == 16
        np.testing.assert_array_equal(hdus[0].data, counts)


def test_extensions_can_be_chosen_by_name(tmp_path):
    image = make(tmp_path, "image", names=["ccd02", "ccd00", "ccd01"])
    options = {"OUTPUT_SUFFIX": "image", "N_HDU": "2", "HDU_NAMES": "ccd00, ccd01"}
    assert split(tmp_path, options, image=image).status == "ok"
    for number, ccd in ((0, 1), (1, 2)):
        data = fits.read_image(tmp_path / "run/output" / f"image{NUMBER}-{number}.fits")
        assert np.array_equal(data, pixels("image", ccd))


@pytest.mark.parametrize(
    ("value", "kind"), [(1024, "i2"), (32767, "i2"), (2**17, "i4"), (-3, "i2")]
)
def test_flags_are_as_small_as_their_bits_allow(tmp_path, value, kind):
    def put(hdus):
        hdus[2] = afits.ImageHDU(np.full(SHAPE, value, "f4"))

    split(tmp_path, flag=make(tmp_path, "flag", change=put))
    data = fits.read_image(tmp_path / "run/output" / f"flag{NUMBER}-1.fits")
    assert data.dtype == kind and (data == value).all()


@pytest.mark.parametrize("value", [0.5, np.nan, 2**40])
def test_flags_that_are_no_bits_are_refused(tmp_path, value):
    def put(hdus):
        hdus[2] = afits.ImageHDU(np.full(SHAPE, value, "f8"))

    error = failure(split(tmp_path, flag=make(tmp_path, "flag", change=put)))
    assert f"flag{NUMBER}.fits" in error and "HDU 2" in error


def test_ccd_of_nan_is_split_and_does_not_harm_the_others(tmp_path):
    def put(hdus):
        hdus[2].data[:] = np.nan

    assert split(tmp_path, image=make(tmp_path, "image", change=put)).status == "ok"


def test_missing_hdu_names_exposure_hdu_and_what_is_there(tmp_path):
    error = failure(split(tmp_path, OPTIONS | {"N_HDU": "5"}))
    assert f"image{NUMBER}.fits: HDU 4 is missing" in error and "3 (40 x 60)" in error
    # the CCDs that are there go on; the headers of an incomplete exposure do not
    made = sorted(path.name for path in (tmp_path / "run/output").iterdir())
    assert made == [
        f"{kind}{NUMBER}-{k}.fits" for kind in ("flag", "image", "weight") for k in range(3)
    ]


def test_hdu_without_pixels_or_coordinates_is_named(tmp_path):
    def empty(hdus):
        hdus[2] = afits.ImageHDU()

    error = failure(split(tmp_path, image=make(tmp_path, "image", change=empty)))
    assert "HDU 2 holds no image" in error

    def astray(hdus):
        for name in ("CTYPE1", "CTYPE2"):
            del hdus[3].header[name]

    (tmp_path / f"image{NUMBER}.fits").unlink()
    image = make(tmp_path, "image", kind="TAN", change=astray)
    for role in ("weight", "flag"):
        (tmp_path / f"{role}{NUMBER}.fits").unlink()
    error = failure(split(tmp_path, image=image, folder="again"))
    assert "HDU 3" in error and "no sky coordinates" in error


@pytest.mark.parametrize("length", [18_000, 24_000])
def test_cut_mosaic_is_reported(tmp_path, length):
    """In the header of HDU 2, and in its pixels."""
    path = make(tmp_path, "weight")
    path.write_bytes(path.read_bytes()[:length])
    assert "cut short" in failure(split(tmp_path, weight=path))


@pytest.mark.parametrize("options", [
    {"OUTPUT_SUFFIX": "a, b, c, d", "N_HDU": "1"},
    {"OUTPUT_SUFFIX": "image", "N_HDU": "3", "HDU_NAMES": "ccd00"},
    {"OUTPUT_SUFFIX": "image", "N_HDU": "0"},
])  # fmt: skip
def test_options_that_do_not_fit_are_refused(tmp_path, options):
    with pytest.raises(ConfigurationError, match=r"N_HDU|OUTPUT_SUFFIX|HDU_NAMES"):
        split(tmp_path, options)


def test_products_do_not_depend_on_what_the_worker_did_before(tmp_path):
    made = {role: make(tmp_path, role) for role in ("image", "weight", "flag")}
    first = split(tmp_path, **made)
    (tmp_path / "other").mkdir()
    split(tmp_path / "other", {"OUTPUT_SUFFIX": "image", "N_HDU": "2"})
    again = split(tmp_path, folder="again", **made)
    for one, other in zip(first.products, again.products, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
