"""The examples from exposures to shapes, on infrared exposures made like real ones.

ZPN coordinates far from their origin, mirrored, dithered; noise correlated by bilinear
interpolation; no weights; names of exposures that are not those of CFHT. Where the environment
variable SHAPEPIPE_REAL_IMAGES names a folder with the real ones, they take the same way.
"""

import json
import os
import shutil
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits as afits
from astropy.wcs import WCS

import shapepipe
from shapepipe.astro import jacobians, ldac
from shapepipe.astro import wcs as sky

needs_programs = pytest.mark.programs("sextractor", "psfex", "swarp")
EXAMPLES = Path(__file__).parents[1] / "example" / "config"
SIZE, GRID, NOISE = 470, 9, 30.0
DITHERS = {1: (0, 0), 2: (7.3, -5.1), 3: (-4.6, 8.8), 5: (3.2, 2.9)}
SEEING = {1: 2.5, 2: 2.7, 3: 2.4, 5: 2.8}  # FWHM, pixels
PSF_SHEAR = {1: (0.04, -0.03), 2: (-0.02, 0.03), 3: (0.01, 0.04), 5: (0.0, -0.03)}
REAL = "SHAPEPIPE_REAL_IMAGES"


def header(dither):
    """Cards of an exposure of a camera whose axis is far away, rows running south."""
    return afits.Header(
        {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "CRVAL1": 36.484, "CRVAL2": -4.640,
         "CRPIX1": 5274.8 + dither[0], "CRPIX2": -4915.5 + dither[1], "CD1_1": -9.4836e-5,
         "CD1_2": -1.94e-7, "CD2_1": 1.58e-7, "CD2_2": -9.4784e-5, "PV2_1": 1.0, "PV2_2": 0.0,
         "PV2_3": 44.0, "PV2_4": 0.0, "PV2_5": -10300.0, "GAIN": 0.0966, "GAINCOR": 0.777,
         "MAGZPT": 30.0, "EXTNAME": "image_sky"}
    )  # fmt: skip


def sources():
    """Place on the first exposure, profile (arcsec, on the sky), and shear of a galaxy."""
    rng = np.random.default_rng(5)
    grid = np.linspace(52, SIZE - 52, GRID)
    for i, (x, y) in enumerate((x, y) for y in grid for x in grid):
        place = x + rng.uniform(-4, 4), y + rng.uniform(-4, 4)
        if i % 5 in (0, 2):
            yield place, galsim.DeltaFunction(flux=10 ** rng.uniform(4.6, 5.3)), None
        else:
            g1, g2 = np.clip(rng.normal(0, 0.2, 2), -0.4, 0.4)
            radius = rng.uniform(0.45, 0.75)
            profile = galsim.Exponential(half_light_radius=radius, flux=10 ** rng.uniform(4.6, 5.0))
            yield place, profile.shear(g1=g1, g2=g2), (g1, g2)


def write_exposure(path, number):
    """An exposure as an archive may give it: 32-bit floats, quantised by Rice."""
    rng = np.random.default_rng(number)
    cards, first = header(DITHERS[number]), WCS(header(DITHERS[1]))
    solution, image = WCS(cards), galsim.ImageF(SIZE, SIZE)
    psf = galsim.Moffat(beta=3.5, fwhm=SEEING[number] * 0.3375)
    psf = psf.shear(g1=PSF_SHEAR[number][0], g2=PSF_SHEAR[number][1])
    for place, profile, _ in sources():
        there = sky.pixel_to_world(first, *(np.array([axis]) for axis in place))
        x, y = (float(axis[0]) for axis in sky.world_to_pixel(solution, *there))
        matrix = jacobians.local_jacobians(solution, np.array([x]), np.array([y]))[0]
        stamp = galsim.Convolve(profile, psf).drawImage(
            nx=61, ny=61, center=galsim.PositionD(x + 1, y + 1),
            wcs=galsim.JacobianWCS(*matrix.ravel()),
        )  # fmt: skip
        common = stamp.bounds & image.bounds
        image[common] += stamp[common]
    noise = rng.normal(0, NOISE * 1.6, (SIZE + 1, SIZE + 1))
    noise = 0.5 * (noise[1:] + noise[:-1])
    noise = 0.6 * noise[:, 1:] + 0.4 * noise[:, :-1]
    pixels = (image.array + noise).astype(np.float32)
    packed = afits.CompImageHDU(pixels, cards, compression_type="RICE_1", quantize_level=16)
    afits.HDUList([afits.PrimaryHDU(), packed]).writeto(path)


def process(folder, example, config=EXAMPLES):
    """Run an example; gives its result."""
    (folder / "output").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SP_RUN", str(folder))
        patch.setenv("SP_CONFIG", str(config))
        return shapepipe.run(config / "other_surveys" / example)


def copy_config(folder):
    """The examples with smaller models of the PSF, which take a quarter of the time."""
    shutil.copytree(EXAMPLES, folder)
    path = folder / "other_surveys" / "few_stars.psfex"
    text = path.read_text()
    for shipped, smaller in (("67,67", "35,35"), ("BASIS_NUMBER      20", "BASIS_NUMBER 10")):
        assert shipped in text
        text = text.replace(shipped, smaller)
    path.write_text(text)
    return folder


def product(result, step, ending):
    """The one product of a step with that ending."""
    (found,) = (path for path in result.products(step) if path.name.endswith(ending))
    return found


def check_account(result):
    """Every detection is in the final catalogue, once, measured or with the reason why not."""
    detected = ldac.read(product(result, "sextractor_runner_run_2", ".fits"))
    final = ldac.read(product(result, "make_cat_runner", ".fits"), "RESULTS")
    assert np.array_equal(detected["NUMBER"], final["NUMBER"])
    shape = np.asarray(final["NGMIX_ELL_NOSHEAR"])
    assert np.isfinite(shape).all(axis=1)[np.asarray(final["NGMIX_FLAGS_NOSHEAR"]) == 0].all()
    return final


def check_chi_square(value, figures):
    """Per degree of freedom it is 1, within 4.5 times what it scatters by."""
    assert value == pytest.approx(1, abs=4.5 * figures["chi2_error"])


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The infrared example on four small exposures."""
    top = tmp_path_factory.mktemp("infrared_tile")
    for name in ("exposures", "tiles"):
        (top / "input" / name).mkdir(parents=True)
    for number in DITHERS:
        write_exposure(top / f"input/exposures/image-{number}.fits.fz", number)
    names = "\n".join(map(str, DITHERS))
    (top / "input/tiles/exp_numbers-000.txt").write_text(names + "\n")
    return process(top, "vircam_tile.ini", copy_config(top / "config"))


@needs_programs
def test_every_detection_is_accounted_for(result):
    assert result.exit_status == 0
    final = check_account(result)
    assert GRID**2 - 4 <= len(final) <= GRID**2 + 12
    names = {str(name).strip() for i in range(len(DITHERS)) for name in final[f"EXP_NAME_{i + 1}"]}
    assert names - {"", "--"} == set(map(str, DITHERS))
    assert np.median(final["N_EPOCH"]) == len(DITHERS)


@needs_programs
def test_halves_of_the_epochs_agree_within_their_errors(result):
    figures = json.loads(product(result, "shape_agreement_runner", ".json").read_text())
    assert figures["n_compared"] > 25
    check_chi_square(figures["chi2_per_dof_pair"], figures)
    for axis in ("g1", "g2"):
        assert abs(figures[f"difference_{axis}"]) < 4 * figures[f"error_{axis}"]
        assert figures[f"slope_{axis}"] == pytest.approx(1, abs=0.1)


@needs_programs
def test_shapes_are_those_of_the_sky(result):
    """A mirrored or turned stamp, PSF or Jacobian would spoil both components."""
    final = ldac.read(product(result, "make_cat_runner", ".fits"), "RESULTS")
    first, pairs = WCS(header(DITHERS[1])), []
    for place, _, shear in sources():
        if shear is None:
            continue
        there = sky.pixel_to_world(first, *(np.array([axis]) for axis in place))
        apart = sky.separation(final["XWIN_WORLD"], final["YWIN_WORLD"], *there) * 3600
        row = final[int(np.argmin(apart))]
        if apart.min() < 0.5 and row["NGMIX_FLAGS_NOSHEAR"] == 0:
            pairs.append((*shear, *row["NGMIX_ELL_NOSHEAR"]))
    true1, true2, g1, g2 = np.array(pairs).T
    assert len(pairs) > 35
    for true, found in ((true1, g1), (true2, g2)):
        assert np.polyfit(true, found, 1)[0] == pytest.approx(1, abs=0.15)
        assert np.corrcoef(true, found)[0, 1] > 0.9


def link_real_images(source, target):
    """Give the files names that the configurations can take apart, as the page on them says."""
    for name in ("exposures", "tiles"):
        (target / name).mkdir(parents=True)
    found = set()
    for path in sorted(source.glob("*.fits.fz")):
        words = path.name.removesuffix(".fits.fz").replace("_", "-").split("-")
        kind, number = (words[2], words[1]) if words[0] == "exp" else words
        (target / f"exposures/{kind}-{number}.fits.fz").symlink_to(path.absolute())
        found.add(number)
    (target / "tiles/exp_numbers-000.txt").write_text("\n".join(sorted(found)) + "\n")
    for path in source.glob("refstars*.fits"):
        (target / "reference_stars.fits").symlink_to(path.absolute())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "example"),
    [("vircam-eight-epochs", "vircam_tile.ini"), ("sdss-s82-two-epoch", "sdss_tile.ini")],
)
def test_real_exposures(folder, example, tmp_path):
    where = os.environ.get(REAL)
    if not where:
        pytest.skip(f"{REAL} does not name a folder with real images (see docs/real_images.md)")
    if not (Path(where) / folder).is_dir():
        pytest.skip(f"{where} holds no {folder}")
    link_real_images(Path(where) / folder, tmp_path / "input")
    result = process(tmp_path, example)
    assert result.exit_status == 0
    check_account(result)
    figures = json.loads(product(result, "shape_agreement_runner", ".json").read_text())
    assert figures["n_compared"] > 40
    check_chi_square(figures["chi2_per_dof_pair_light"], figures)
