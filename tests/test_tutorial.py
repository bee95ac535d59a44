"""The survey tutorial: its commands print what the pages show, and make the figures."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from shapepipe.astro import crossmatch
from shapepipe.shear import calibrate
from shapepipe.shear.halves import tables_of

ROOT = Path(__file__).parents[1]
PROGRAMS = pytest.mark.programs("sextractor", "psfex", "swarp")


def load_script():
    """The script as a module; it has no ending by which Python would know it."""
    loader = importlib.machinery.SourceFileLoader("tutorial", str(ROOT / "scripts/tutorial"))
    spec = importlib.util.spec_from_loader("tutorial", loader)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    loader.exec_module(module)
    sys.path[:] = before
    return module


tutorial = load_script()
read_blocks, run_blocks = tutorial.read_blocks, tutorial.run_blocks
NAMES = sorted(tutorial.FIGURES)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folder in which all commands have run, and what they printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, tutorial.run(folder)


@PROGRAMS
@pytest.mark.slow
def test_the_commands_print_what_the_pages_show(done):
    _, results = done
    assert sum(bool(block.printed) for block, _ in results) > 20
    assert not tutorial.differences(results), "\n".join(tutorial.differences(results))


@PROGRAMS
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_commands_make_the_figures_of_the_pages(done, name, tmp_path):
    tutorial.keep_figure(done[0], name, tmp_path / "made.png")
    with (
        Image.open(tmp_path / "made.png") as made,
        Image.open(ROOT / f"docs/images/tutorial_{name}.png") as kept,
    ):
        assert np.allclose(made.size, kept.size, atol=8)
        pair = [np.asarray(image.convert("L").resize((80, 60)), float) for image in (made, kept)]
    assert np.abs(pair[0] - pair[1]).mean() < 15  # of 255; noise moves single points
    assert pair[0].std() > 5


@PROGRAMS
@pytest.mark.slow
def test_stars_galaxies_and_shear_are_those_of_the_simulated_sky(done):
    folder, _ = done
    catalogue = Table.read(folder / "run/final_cat.fits", 1)
    truth = Table.read(folder / "archive/truth/objects.fits")
    magnitudes = (catalogue["MAG_AUTO"] > 17) & (catalogue["MAG_AUTO"] < 21.5)
    clean = catalogue[magnitudes & (catalogue["FLAGS"] == 0)]
    rows, apart = crossmatch.nearest(
        clean["XWIN_WORLD"], clean["YWIN_WORLD"], truth["ra"], truth["dec"], 1.0
    )
    right = np.asarray(clean["SPREAD_CLASS"]) == np.asarray(truth["kind"])[rows]
    assert len(clean) > 100 and np.median(apart) < 0.02
    assert right.mean() > 0.95
    chosen = catalogue[(catalogue["SPREAD_CLASS"] == 1) & (catalogue["FLAGS"] == 0)]
    mean = calibrate.mean_shear(tables_of(chosen), calibrate.cut(s2n=10, size_ratio=0.5), groups=50)
    assert np.all(np.abs(mean.shear - (0.02, -0.01)) < 4 * mean.error)
    assert np.all(mean.error < 0.06)


COLUMNS = ROOT / "docs/guide/columns.md"
MADE = ("*_runner/output/**/*.*", "psf_validation/*.fits", "final_cat.fits")
WILD = {"<num>": r"[-\d]*", "<i>": r"\d+", "<K>": "(1M|1P|2M|2P|NOSHEAR)", "<name>": r"\w+",
        "<NAME>": r"[A-Z0-9_]+"}  # fmt: skip


def pattern(name):
    """Regular expression for a name with wild parts as it stands on a page."""
    text = re.escape(name)
    for part, expression in WILD.items():
        text = text.replace(re.escape(part), expression)
    return text


def tables_on_the_page():
    """Patterns of file names -> patterns of HDUs -> patterns of columns with their units."""
    found = {}
    for section in COLUMNS.read_text().split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        hdus = found.setdefault(tuple(re.findall("`(.+?)`", title)), {})
        for name, body in re.findall(r"^HDU `(.+?)`(.*?)(?=^HDU|\Z)", text, re.M | re.S):
            rows = re.findall(r"^\| (`.+?) \| ?(.*?) ?\|", body, re.M)
            hdus[name] = [(c, unit) for names, unit in rows for c in re.findall("`(.+?)`", names)]
    return found


def products(folder):
    """One product of each kind."""
    kinds = {}
    for place in MADE:
        for path in sorted((folder / "run").rglob(place)):
            parent = path.parent.name + "/" if path.parent.name in ("mask", "plot", "stat") else ""
            kinds[parent + re.sub(r"-\d[-\d]*", "", path.name)] = path
    return kinds


@PROGRAMS
@pytest.mark.slow
def test_every_product_is_on_the_page_of_formats(done):
    pages = "".join((COLUMNS.parent / name).read_text() for name in ("formats.md", "columns.md"))
    names = [pattern(name) for name in re.findall(r"`([^`\s]+<num>\.\w+|[^`\s]+\.\w+)`", pages)]
    kinds = products(done[0])
    unknown = [k for k in kinds if not any(re.fullmatch(rf"(sexcat_)?{n}", k) for n in names)]
    assert len(kinds) > 25
    assert not unknown


@PROGRAMS
@pytest.mark.slow
def test_every_column_is_on_the_page_of_columns(done):
    described, missing, seen = tables_on_the_page(), [], set()
    for kind, path in products(done[0]).items():
        if path.suffix not in (".fits", ".cat", ".psf") or path.read_bytes()[:6] != b"SIMPLE":
            continue
        with fits.open(path) as hdus:
            for hdu in hdus[1:]:
                missing += undescribed(described, kind, hdu, seen)
    assert not missing
    written = {name for name in seen if "<" not in name}
    optional = {"N_TILES", "IS_PRIMARY", "EXP_NAME", "CCD_NB", "N_EPOCH"}
    everything = {c for hdus in described.values() for rows in hdus.values() for c, _ in rows}
    assert {name for name in everything if "<" not in name} - optional <= written


def undescribed(described, kind, hdu, seen):
    """Columns of an HDU that no page describes, or with another unit; adds to those seen."""
    if hdu.name == "LDAC_IMHEAD" or not isinstance(hdu, fits.BinTableHDU):
        return []
    rows = [
        row
        for names, hdus in described.items()
        if any(re.fullmatch(rf"(sexcat_)?{pattern(name)}", kind) for name in names)
        for title, rows in hdus.items()
        if re.fullmatch(pattern(title), hdu.name)
        for row in rows
    ]
    if hdu.name == "RESULTS":
        first = next(hdus for names, hdus in described.items() if "sexcat<num>.fits" in names)
        rows += first["LDAC_OBJECTS"]
    missing = []
    for column in hdu.columns:
        fitting = [(name, unit) for name, unit in rows if re.fullmatch(pattern(name), column.name)]
        seen.update(name for name, _ in fitting)
        units = {unit for _, unit in fitting}
        if not fitting or (column.unit or "") not in units:
            missing.append(f"{kind} {hdu.name} {column.name} [{column.unit}], not {units}")
    return missing


@PROGRAMS
@pytest.mark.slow
def test_first_ini_file_of_the_readme_runs(done, tmp_path):
    folder, _ = done
    (tmp_path / "images").mkdir()
    (tmp_path / "output").mkdir()
    for kind in ("image", "weight", "flag"):
        made = next((folder / "run/output").glob(f"run_sp_exp_Sp_*/*/output/{kind}-2366993-0.fits"))
        (tmp_path / f"images/{kind}-0001-00.fits").symlink_to(made)
    ini = re.search(r"^```ini\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    (tmp_path / "stars.ini").write_text(ini)
    printed = run_blocks(
        read_blocks(ROOT / "README.md"), tmp_path, ROOT, MY_IMAGES=str(tmp_path / "images"),
        MY_OUTPUT=str(tmp_path / "output"), SP_CONFIG=str(folder / "config"),
    )  # fmt: skip
    assert printed[-1].count("psfex_runner") > 3
    assert list(tmp_path.glob("output/run_stars_*/psfex_runner/output/star_selection-0001-00.psf"))


def test_look_before_the_first_run(tmp_path):
    (tmp_path / "example").symlink_to(ROOT / "example")
    survey = tmp_path / "quickstart" / "input"
    for name in ("exposures/image-2366993.fits.fz", "exposures/weight-2366993.fits.fz",
                 "exposures/flag-2366993.fits.fz", "tiles/CFIS_image-277-282.fits",
                 "tiles/CFIS_weight-277-282.fits.fz", "star_cat.fits"):  # fmt: skip
        (survey / name).parent.mkdir(parents=True, exist_ok=True)
        (survey / name).touch()
    (tmp_path / "quickstart/output").mkdir()
    blocks = read_blocks(ROOT / "docs/guide/first_run.md")
    *_, shown, plan = [
        text
        for block, text in zip(blocks, run_blocks(blocks, tmp_path, ROOT), strict=True)
        if not block.reason
    ]
    assert "MASK_CONFIG_PATH" in shown
    assert re.search(r"^make_cat_runner +1 +1 ", plan, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/guide/first_run.md", "docs/your_images.md"])
def test_what_is_not_run_has_a_reason(page):
    blocks = read_blocks(ROOT / page)
    assert blocks
    assert all(len(block.reason.split()) > 4 for block in blocks if block.reason)


def test_every_figure_of_the_tutorial_stands_on_a_page():
    text = "".join((ROOT / f"docs/tutorial/{page}.md").read_text() for page in tutorial.PAGES)
    kept = {path.stem for path in (ROOT / "docs/images").glob("tutorial_*.png")}
    assert kept == {f"tutorial_{name}" for name in NAMES}
    assert all(f"images/{name}.png" in text for name in kept)


def test_every_page_of_the_tutorial_is_run():
    pages = {path.stem for path in (ROOT / "docs/tutorial").glob("*.md")}
    assert pages == set(tutorial.PAGES)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("ok 8 8", "ok  8   8", True),
        ("ok 8 8", "ok 8 7", False),
        ("140 galaxies", "129 galaxies", True),
        ("140 galaxies", "90 galaxies", False),
        ("g1 = 0.02 +- 0.03", "g1 = -0.041 +- 0.028", True),
        ("g1 = 0.02", "g2 = 0.02", False),
        ("first\n...\nlast", "first\nlast", True),
        ("first\n...\nlast", "first\na\nb\nlast", True),
        ("first\n...\nlast", "first\na\nb", False),
        ("one: ... stars", "one: 12 stars", True),
        ("one: ... stars 1.5", "one: 12 stars 2.25", True),
        ("image-2366993.fits", "image-2366994.fits", False),
        ("one", "one\ntwo", False),
    ],
)
def test_output_is_compared_loosely(expected, printed, same):
    assert tutorial.is_printed(expected, printed) is same
