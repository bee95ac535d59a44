"""`shapepipe init` leaves an INI file that passes the check and, with the programs, runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe import cli, run
from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import load_config
from shapepipe.starter import init
from shapepipe.starter.configuration import set_values
from shapepipe.starter.survey import look_around

ROOT = Path(__file__).parents[2]
DATA = ROOT / "shapepipe" / "data" / "start"
SKY = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 250.0,
    "CRPIX2": 200.0, "CD1_1": -0.3 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.3 / 3600,
}  # fmt: skip
CARDS = {"GAIN": 2.0, "SATURATE": 60000.0, "MAGZP": 27.0, "FILTER": "r"}
FWHM = 3.4


def pixels(seed, n_stars=70, shape=(400, 500)):
    """A sky with stars of one size and a few larger objects."""
    rng = np.random.default_rng(seed)
    image = rng.normal(500.0, 6.0, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k in range(n_stars + 10):
        size = FWHM if k < n_stars else 2.2 * FWHM
        x0, y0, peak = rng.uniform(30, 470), rng.uniform(30, 370), 10 ** rng.uniform(2.6, 4.3)
        part = np.s_[int(y0) - 25 : int(y0) + 26, int(x0) - 25 : int(x0) + 26]
        r2 = (x[part] - x0) ** 2 + (y[part] - y0) ** 2
        image[part] += peak * (1 + r2 / (0.981 * size) ** 2) ** -3  # Moffat, beta 3
    return image.astype(np.float32)


def guess(question, answer, why):
    return answer


def mosaics(folder, numbers=("004192", "006377"), n_ccd=2):
    """Exposures as they come: the number in the middle of the name, image, weight and flag."""
    folder.mkdir()
    for k, number in enumerate(numbers):
        hdus = {what: [fits.PrimaryHDU()] for what in ("image", "weight", "flag")}
        for ccd in range(n_ccd):
            header = fits.Header({**SKY, **CARDS})
            image = pixels(10 * k + ccd)
            flag = (image > 600).astype(np.int16) * 16  # bright objects, which are no defects
            flag[:, 100] |= 1
            hdus["image"].append(fits.ImageHDU(image, header))
            hdus["weight"].append(fits.ImageHDU(np.full_like(image, 1 / 36), fits.Header(SKY)))
            hdus["flag"].append(fits.ImageHDU(flag, fits.Header(SKY)))
        for what, found in hdus.items():
            fits.HDUList(found).writeto(folder / f"exp-{number}-{what}.fits")
    return folder


def test_mosaics_with_weights_and_flags(tmp_path):
    begun = init.begin(mosaics(tmp_path / "in"), tmp_path / "new" / "config.ini", guess)
    assert not [line for line in begun.complaints if "is not on PATH" not in line]
    config = load_config(tmp_path / "new" / "config.ini")
    split, _, mask, sextractor = config.steps[:4]
    assert split.opts.n_hdu == 2
    assert split.opts.output_suffix == ["image", "weight", "flag"]
    assert config.file.numbering_scheme == "-000000-0"
    assert mask.opts.use_ext_flag
    assert sextractor.opts.zp_key == "MAGZP"
    assert "EF_IGNORE = 16" in (tmp_path / "new/image.mask").read_text()
    settings = (tmp_path / "new/default.sex").read_text()
    assert "SATUR_LEVEL       60000.0     # header card SATURATE" in settings
    assert config.steps[-1].runner.name == "mean_shapes_runner"
    link = tmp_path / "new/input/weight-006377.fits"
    assert link.resolve().name == "exp-006377-weight.fits"


@pytest.mark.slow
@pytest.mark.programs
def test_mosaics_run_to_psf_models(tmp_path):
    init.begin(mosaics(tmp_path / "in"), tmp_path / "new" / "config.ini", guess)
    result = run(tmp_path / "new" / "config.ini", overrides=["DEFAULT:VERBOSE=False"])
    assert result.exit_status == 0, result.table()
    assert result.counts["psfex_runner"] == {"ok": 4}
    promised = "merge_starcat_runner/output/full_starcat.fits"
    assert promised in (tmp_path / "new/config.ini").read_text()
    stars = Table.read(result.path / promised, hdu=2)
    assert len(stars) > 100
    assert set(stars["EXP_NAME"]) == {"004192", "006377"}
    sigma = np.median(stars["SIGMA_PSF_HSM"])
    assert sigma == pytest.approx(np.median(stars["SIGMA_STAR_HSM"]), rel=0.05)


def test_single_images_in_compressed_files(tmp_path):
    for k in (1, 2, 10):
        header = fits.Header({**SKY, "MAGZPT": 30.0})
        packed = fits.CompImageHDU(pixels(k), header)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / f"image_{k}.fits.fz")
    begun = init.begin(tmp_path, tmp_path / "new" / "config.ini", guess)
    config = load_config(tmp_path / "new" / "config.ini")
    assert begun.proposal.images.units.as_they_are
    assert config.steps[0].opts.hdu_data == 1
    assert config.file.numbering_scheme == "_0"
    mask, sextractor = config.steps[1:3]
    assert not mask.opts.use_weight
    assert not sextractor.opts.weight_image
    assert begun.proposal.fwhm == pytest.approx(FWHM, rel=0.2)
    assert "no weight images found" in (tmp_path / "new/config.ini").read_text()


def test_plain_images_need_no_preparation(tmp_path):
    for k in (1, 2):
        fits.writeto(tmp_path / f"stack_{k}.fit", pixels(k), fits.Header({**SKY, **CARDS}))
    init.begin(tmp_path, tmp_path / "new" / "config.ini", guess)
    config = load_config(tmp_path / "new" / "config.ini")
    assert [step.label for step in config.steps[:2]] == ["mask_runner", "sextractor_runner"]
    assert config.steps[1].opts.file_ext == [".fit", ".fits"]


def test_image_with_its_flags_in_one_file(tmp_path):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels(1), fits.Header({**SKY, **CARDS}), "SCI")]
    hdus.append(fits.ImageHDU(np.zeros((400, 500), np.uint8), name="BPM"))
    fits.HDUList(hdus).writeto(tmp_path / "reduced-sci-bpm.fits")
    init.begin(tmp_path, tmp_path / "new" / "config.ini", guess)
    first, second, mask = load_config(tmp_path / "new" / "config.ini").steps[:3]
    assert [first.opts.hdu_data, second.opts.hdu_data] == [1, 2]
    assert mask.opts.use_ext_flag


def test_raw_night_is_told(tmp_path):
    for kind, level in (("bias", 300), ("flat", 20000), ("light", 900)):
        (tmp_path / kind).mkdir()
        for k in (1, 2):
            image = np.random.default_rng(k).normal(level, 10, (100, 120)).astype(np.uint16)
            fits.writeto(tmp_path / kind / f"{kind}_{k}.fits", image)
    begun = init.begin(tmp_path, tmp_path / "new" / "config.ini", guess)
    (note,) = begun.proposal.notes
    assert "seem to be raw" in note
    assert "2 bias frames" in note
    assert "ShapePipe needs calibrated images" in (tmp_path / "new/config.ini").read_text().replace(
        "\n# ", " "
    )
    assert not begun.proposal.psf.value


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_calibration_frames_alone_are_refused(kind, tmp_path):
    fits.writeto(tmp_path / f"{kind}_1.fits", np.zeros((10, 10), np.uint16))
    with pytest.raises(ConfigurationError, match=f"1 {kind} frame .*needs calibrated images"):
        look_around(tmp_path)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no FITS file"):
        look_around(tmp_path)
    (tmp_path / "a.fits").write_text("no FITS")
    with pytest.raises(ConfigurationError, match="not a FITS file|cut short|is not FITS"):
        look_around(tmp_path)


def test_nothing_is_overwritten(tmp_path):
    fits.writeto(tmp_path / "stack_1.fits", pixels(1), fits.Header(SKY))
    (tmp_path / "default.sex").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"default\.sex: is there already"):
        init.begin(tmp_path, tmp_path / "config.ini", guess)
    assert not (tmp_path / "config.ini").exists()
    assert (tmp_path / "default.sex").read_text() == "mine"


def test_answers_count(tmp_path):
    fits.writeto(tmp_path / "a_1.fits", pixels(1).astype(np.uint16))
    fits.writeto(tmp_path / "b_1.fits", pixels(2)[:200].astype(np.uint16))
    asked = {}

    def answer(question, guessed, why):
        asked[question] = guessed
        said = {"Which set of images": 2, "Level at which pixels are saturated": 40000,
                "Magnitude zero point": 25.5, "Pixel scale in arcsec": 0.5,
                "Model the PSF (yes or no)": "no"}  # fmt: skip
        return said[question]

    begun = init.begin(tmp_path, tmp_path / "new/config.ini", answer)
    assert len(asked) == 5
    assert begun.proposal.images.names[0].path.name == "b_1.fits"
    settings = (tmp_path / "new/default.sex").read_text()
    for line in ("SATUR_LEVEL       40000.0", "MAG_ZEROPOINT     25.5", "PIXEL_SCALE       0.5"):
        assert line in settings
    assert "psfex_runner" not in (tmp_path / "new/config.ini").read_text()


def test_command_line(tmp_path, capsys, monkeypatch):
    fits.writeto(tmp_path / "stack_1.fits", pixels(1), fits.Header({**SKY, **CARDS}))
    words = ["shapepipe", "init", str(tmp_path), "-o", str(tmp_path / "new/config.ini"), "--yes"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().out
    assert "images: 1 x image, 500 x 400 pixels, such as stack_1.fits" in said
    assert "shapepipe_run -c" in said


def test_templates_are_those_of_the_examples():
    example = ROOT / "example" / "config"
    for name in ("default.param", "default.conv", "default.psfex"):
        assert (DATA / name).read_text() == (example / name).read_text()
    assert (DATA / "default.sex").read_text() == (example / "default_exp.sex").read_text()


def test_values_are_replaced_or_added():
    text = set_values("A 1\nB 2 # x\n", {"B": (3, "why"), "C": (4, "too")}).splitlines()
    assert [line.split() for line in text] == [
        ["A", "1"], ["B", "3", "#", "why"], ["C", "4", "#", "too"],
    ]  # fmt: skip


def test_rows_of_a_result_fit_pandas_and_astropy(tmp_path):
    fits.writeto(tmp_path / "image_1.fits", pixels(1))
    fits.writeto(tmp_path / "image_2.fits", np.full((8, 8), np.nan, np.float32))
    (tmp_path / "out").mkdir()
    ini = tmp_path / "sky.ini"
    ini.write_text(
        f"[DEFAULT]\nVERBOSE = False\nRUN_NAME = run\nRUN_DATETIME = False\n[EXECUTION]\n"
        f"MODULE = sky_runner\nMODULE_PATH = {ROOT / 'modules'}\n[FILE]\nINPUT_DIR = {tmp_path}\n"
        f"OUTPUT_DIR = {tmp_path / 'out'}\n"
    )
    result = run(ini)
    rows = result.table("sky_runner")
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert rows[0]["sky_level"] == pytest.approx(500, abs=2)
    assert rows[1]["sky_level"] is None
    assert "no finite pixel" in rows[1]["error"]
    assert json.loads(Path(rows[0]["products"][0]).read_text())["sky_noise"] > 0
    assert Table(rows)["number"].tolist() == ["_1", "_2"]
    assert "<td>sky_runner</td>" in result._repr_html_()


def stack(path, exposures=("004192", "006377")):
    """A stack that names its exposures, and its packed weight."""
    header = fits.Header({**SKY, **CARDS})
    for name in exposures:
        header.add_history(f" input image {name}p.fits 2 extension(s)")
    fits.writeto(path / "CFIS.277.282.r.fits", pixels(99), header)
    weight = fits.CompImageHDU(np.ones((400, 500), np.float32), fits.Header(SKY))
    fits.HDUList([fits.PrimaryHDU(), weight]).writeto(path / "CFIS.277.282.r.weight.fits.fz")


def test_stacks_of_the_exposures_get_a_chain_of_their_own(tmp_path):
    stack(mosaics(tmp_path / "in"))
    begun = init.begin(tmp_path / "in", tmp_path / "new" / "night.ini", guess)
    assert not begun.proposal.notes
    assert load_config(tmp_path / "new" / "night.ini").steps[3].opts.checkimage == ["BACKGROUND"]
    config = load_config(tmp_path / "new" / "night_tile.ini")
    assert [step.runner.name for step in config.steps[2:]] == [
        "mask_runner", "sextractor_runner", "psf_interp_runner", "vignetmaker_runner",
        "vignetmaker_runner", "spread_model_runner", "ngmix_runner", "make_cat_runner",
    ]  # fmt: skip
    assert config.file.numbering_scheme == "-000-000"
    assert [step.opts.hdu_data for step in config.steps[:2]] == [0, 1]
    assert config.steps[3].opts.make_post_process
    side = config.steps[5].opts.stamp_size
    assert f"VIGNET({side},{side})" in (tmp_path / "new/default.param").read_text()
    assert config.steps[6].opts.stamp_size == side
    assert config.steps[3].opts.dot_sex_file.name == "default_tile.sex"
    assert "DETECT_THRESH     1.5 " in (tmp_path / "new/default_tile.sex").read_text()
    link = tmp_path / "new/input_tiles/weight-277-282.fits.fz"
    assert link.resolve().name == "CFIS.277.282.r.weight.fits.fz"


def test_stacks_without_their_exposures_are_told(tmp_path, capsys, monkeypatch):
    stack(tmp_path)
    monkeypatch.setattr(sys, "argv", ["shapepipe", "init", str(tmp_path), "-o",
                                      str(tmp_path / "new/config.ini"), "--yes"])  # fmt: skip
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().out
    assert "These images are stacks; their HISTORY names exposures such as 004192" in said
    assert "config_tile.ini" in said
    assert not (tmp_path / "new/config_tile.ini").exists()


def test_what_hinders_a_chain_for_stacks_is_told(tmp_path):
    stack(mosaics(tmp_path / "in"), ("004192", "000007"))
    begun = init.begin(tmp_path / "in", tmp_path / "new" / "config.ini", guess)
    (note,) = begun.proposal.notes
    assert "exposure 000007 of the stack CFIS.277.282.r.fits is not there" in note
    assert begun.proposal.stacks is None


def test_names_of_the_archive_need_links(tmp_path):
    archive = tmp_path / "in"
    for path in mosaics(archive, ("2366993", "2366994")).iterdir():
        _, number, what = path.stem.split("-")
        path.rename(archive / f"{number}p{'' if what == 'image' else '.' + what}.fits")
    init.begin(archive, tmp_path / "new" / "config.ini", guess)
    config = load_config(tmp_path / "new" / "config.ini")
    assert config.file.numbering_scheme == "-0000000-0"
    assert config.steps[0].opts.output_suffix == ["image", "weight", "flag"]
    link = tmp_path / "new/input/flag-2366994.fits"
    assert link.resolve().name == "2366994p.flag.fits"
