"""setools_runner: products, their names before anything runs, outcomes."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from shapepipe.astro import ldac
from shapepipe.astro.selection import read_script
from shapepipe.errors import ConfigurationError
from shapepipe.modules.setools_runner import setools_runner
from shapepipe.testing import trial

EXAMPLES = Path(__file__).parents[2] / "example" / "config"
NUMBER = "-2366993-18"
STAR_SIZE = 3.95  # pixels


def write_catalogue(path, n_stars=160, n_galaxies=1100, stamp=9, seed=4):
    """One CCD: stars of one size and galaxies larger than that, with stamps that tell the row."""
    rng = np.random.default_rng(seed)
    n = n_stars + n_galaxies
    star = np.arange(n) < n_stars
    size = np.where(star, rng.normal(STAR_SIZE, 0.05, n), STAR_SIZE + rng.gamma(3, 1.0, n) + 0.4)
    flags = np.where(rng.random(n) < 0.05, 2, 0)
    stamps = np.arange(n)[:, None, None] + np.zeros((stamp, stamp))
    table = Table(
        {
            "NUMBER": np.arange(1, n + 1, dtype="i4"),
            "MAG_AUTO": np.where(star, rng.uniform(16, 22, n), rng.uniform(18, 25, n)).astype("f4"),
            "FWHM_IMAGE": size.astype("f4"),
            "FLAGS": flags.astype("i2"),
            "IMAFLAGS_ISO": np.zeros(n, "i2"),
            "X_IMAGE": rng.uniform(1, 2048, n).astype("f4"),
            "Y_IMAGE": rng.uniform(1, 4612, n).astype("f4"),
            "VIGNET": stamps.astype("f4"),
        }
    )
    ldac.write(path, table, header=fits.Header({"OBJECT": "simulated", "GAIN": 1.6}))
    return table


def run(tmp_path, config, **catalogue):
    path = tmp_path / f"sexcat{NUMBER}.fits"
    table = write_catalogue(path, **catalogue)
    if not isinstance(config, Path):
        text, config = config, tmp_path / "own.setools"
        config.write_text(text)
    options = {"SETOOLS_CONFIG_PATH": str(config)}
    outcome = trial(setools_runner, {"sexcat": path}, options, NUMBER, tmp_path)
    return table, outcome


def predicted(config):
    opts = setools_runner.options(setools_config_path=config)
    return {
        f"{pattern}{NUMBER}{output.extension(opts)}"
        for output in setools_runner.active_outputs(opts)
        for pattern in output.patterns(opts)
    }


@pytest.mark.parametrize("name", ["star_selection.setools", "star_selection_split.setools"])
def test_the_example_finds_the_stars(name, tmp_path):
    table, outcome = run(tmp_path, EXAMPLES / name)
    assert outcome.status == "ok", outcome.error
    stars = ldac.read(tmp_path / f"output/mask/star_selection{NUMBER}.fits")
    assert outcome.metrics["n_objects"] == 1260
    assert outcome.metrics["n_star_selection"] == len(stars)
    bright, faint = (17, 20.5) if "split" not in name else (18, 22)
    possible = (table["FLAGS"] == 0) & (table["MAG_AUTO"] > bright) & (table["MAG_AUTO"] < faint)
    true_stars = set(table["NUMBER"][possible & (table["NUMBER"] <= 160)])
    found = set(stars["NUMBER"])
    assert len(found & true_stars) > 0.95 * len(true_stars)
    assert len(found - true_stars) < 0.05 * len(found)
    made = {str(path.relative_to(tmp_path / "output")) for path in outcome.products}
    assert made == predicted(EXAMPLES / name)


def test_the_statistics_of_the_example_are_those_of_its_selection(tmp_path):
    run(tmp_path, EXAMPLES / "star_selection.setools")
    stars = ldac.read(tmp_path / f"output/mask/star_selection{NUMBER}.fits")
    first, *lines = (tmp_path / f"output/stat/star_stat{NUMBER}.txt").read_text().splitlines()
    values = {label: float(value) for label, value in (line.split(" = ") for line in lines)}
    mode = values["Mode fwhm used (arcsec)"]
    area = 2048 * 4612 * (0.186 / 3600) ** 2
    assert first == "# Statistics"
    assert values["Nb objects full cat"] == 1260
    assert values["Nb stars"] == len(stars)
    assert values["stars/deg^2"] == pytest.approx(len(stars) / area, rel=1e-12)
    assert mode == pytest.approx(STAR_SIZE * 0.186, abs=0.01)
    assert values["Min fwhm cut (arcsec)"] == pytest.approx(mode - 0.4 * 0.186, rel=1e-12)
    assert values["Max fwhm cut (arcsec)"] == pytest.approx(mode + 0.4 * 0.186, rel=1e-12)
    assert stars["FWHM_IMAGE"].max() * 0.186 <= values["Max fwhm cut (arcsec)"] + 1e-6


def test_the_example_for_the_number_of_stars_of_the_tutorial_gives_its_density():
    """160 stars on a MegaCam CCD were 6345.7 per square degree in the tutorial's listing."""
    script = read_script(EXAMPLES / "star_selection.setools")
    assert any(label == "stars/deg^2" for label, _ in script.statistics[0].lines)
    assert 160 / (2048 * 4612 * (0.186 / 3600) ** 2) == pytest.approx(6345.70450519, rel=1e-11)


def test_saved_rows_keep_columns_stamps_and_the_header_of_the_image(tmp_path):
    table, _ = run(tmp_path, "[MASK:bright]\nMAG_AUTO < 20\nFLAGS == 0\n")
    path = tmp_path / f"output/mask/bright{NUMBER}.fits"
    saved = ldac.read(path)
    rows = (table["MAG_AUTO"] < 20) & (table["FLAGS"] == 0)
    assert saved.colnames == table.colnames
    for name in table.colnames:
        assert saved[name].dtype == table[name].dtype
        np.testing.assert_array_equal(saved[name], table[name][rows])
    assert saved["VIGNET"].shape[1:] == (9, 9)
    with fits.open(path) as hdus, fits.open(tmp_path / f"sexcat{NUMBER}.fits") as parent:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]
        assert hdus[1].data.tobytes() == parent[1].data.tobytes()


def test_a_random_split_is_the_same_whenever_it_is_made_and_complete(tmp_path):
    text = "[MASK:s]\nMAG_AUTO < 20\n[RAND_SPLIT:cut]\nRATIO = 20\nMASK = s\n"
    parts = []
    for attempt in ("one", "two"):
        (tmp_path / attempt).mkdir()
        run(tmp_path / attempt, text)
        folder = tmp_path / attempt / "output"
        parts.append([ldac.read(folder / f"rand_split/cut_ratio_{p}{NUMBER}.fits")["NUMBER"]
                      for p in (20, 80)])  # fmt: skip
    whole = ldac.read(tmp_path / f"one/output/mask/s{NUMBER}.fits")["NUMBER"]
    for one, two in zip(*parts, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(parts[0][0]) == np.ceil(0.2 * len(whole))
    assert sorted(np.concatenate(parts[0])) == sorted(whole)


def test_new_catalogues_in_all_formats(tmp_path):
    columns = "ID = NUMBER{s}\nSIZE = FWHM_IMAGE{s} * 0.186\n"
    text = "[MASK:s]\nMAG_AUTO < 20\n" + "".join(
        f"[NEW_CAT:{kind}]\nOUTPUT_FORMAT = {kind}\n{columns}"
        for kind in ("fits", "SEx_cat", "txt")
    )
    table, outcome = run(tmp_path, text)
    assert outcome.status == "ok", outcome.error
    rows = table["MAG_AUTO"] < 20
    folder = tmp_path / "output/new_cat"
    found = [
        Table.read(folder / f"fits{NUMBER}.fits", hdu=1),
        ldac.read(folder / f"SEx_cat{NUMBER}.fits"),
        Table.read(folder / f"txt{NUMBER}.txt", format="ascii.commented_header"),
    ]
    for catalogue in found:
        assert catalogue.colnames == ["ID", "SIZE"]
        np.testing.assert_array_equal(catalogue["ID"], table["NUMBER"][rows])
        np.testing.assert_array_equal(
            catalogue["SIZE"], table["FWHM_IMAGE"][rows].astype(float) * 0.186
        )
    assert ldac.read_header(folder / f"SEx_cat{NUMBER}.fits")["OBJECT"] == "simulated"


def test_nothing_selected_at_all_is_an_empty_outcome_with_the_counts(tmp_path):
    text = "[MASK:pre]\nMAG_AUTO<20\nNO_SAVE\n[MASK:a]\nMAG_AUTO<0\n[MASK:b]\n{a}\nFLAGS == 0\n"
    _, outcome = run(tmp_path, text, n_stars=10, n_galaxies=0)
    assert outcome.status == "empty"
    assert outcome.error.startswith("no object is selected of 10 (rows per mask: pre ")
    assert outcome.error.endswith("a 0, b 0)")
    assert not outcome.products


def test_an_empty_mask_beside_one_that_is_not_is_written(tmp_path):
    _, outcome = run(tmp_path, "[MASK:a]\nMAG_AUTO < 0\n[MASK:b]\nMAG_AUTO < 30\n")
    assert outcome.status == "ok", outcome.error
    assert outcome.metrics == {"n_objects": 1260, "n_a": 0, "n_b": 1260}
    empty = ldac.read(tmp_path / f"output/mask/a{NUMBER}.fits")
    assert len(empty) == 0
    assert empty["VIGNET"].shape == (0, 9, 9)


@pytest.mark.parametrize("n_galaxies", [0, 1, 19])
def test_the_example_on_a_catalogue_with_few_objects(n_galaxies, tmp_path):
    config = EXAMPLES / "star_selection_split.setools"
    _, outcome = run(tmp_path, config, n_stars=0, n_galaxies=n_galaxies)
    assert outcome.status in ("ok", "empty"), outcome.error


def test_statistics_alone_need_no_selected_row(tmp_path):
    _, outcome = run(tmp_path, '[STAT:s]\n"n" = len(NUMBER)\n', n_stars=0, n_galaxies=0)
    assert outcome.status == "ok", outcome.error
    assert (tmp_path / f"output/stat/s{NUMBER}.txt").read_text() == "# Statistics\nn = 0\n"


def test_a_column_that_is_not_there_is_one_line_with_its_place(tmp_path):
    _, outcome = run(tmp_path, "[MASK:a]\nMAG_ATUO < 20\n")
    assert outcome.status == "failed"
    where = tmp_path / "own.setools"
    assert outcome.error == f"{where}:2:1: no column 'MAG_ATUO'; did you mean MAG_AUTO?"


def test_a_selection_file_with_errors_is_a_configuration_error_before_anything_runs(tmp_path):
    path = tmp_path / "bad.setools"
    path.write_text("[MASK:a]\nMAG_AUTO <\n[MOSK:b]\n")
    with pytest.raises(ConfigurationError) as caught:
        trial(setools_runner, {}, {"SETOOLS_CONFIG_PATH": str(path)}, NUMBER, tmp_path)
    first, *lines = str(caught.value).splitlines()
    assert first == "SETOOLS_CONFIG_PATH: the selection file is wrong"
    assert [line.strip().split(": ")[0] for line in lines] == [f"{path}:2:11", f"{path}:3:2"]


def test_a_catalogue_that_is_not_ldac_is_refused_with_the_reason(tmp_path):
    path, config = tmp_path / f"sexcat{NUMBER}.fits", tmp_path / "own.setools"
    config.write_text("[MASK:a]\nMAG < 20\n")
    ldac.write_plain(path, Table({"MAG": [18.0]}))
    options = {"SETOOLS_CONFIG_PATH": str(config)}
    outcome = trial(setools_runner, {"sexcat": path}, options, NUMBER, tmp_path)
    assert outcome.status == "failed"
    assert "has no LDAC_IMHEAD" in outcome.error
