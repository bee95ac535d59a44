"""The options of a simulated survey: one class per section of its INI file, each option once."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator

from shapepipe import ConfigurationError, Section, option, read_sections


def _tile(text: str) -> str:
    if not re.fullmatch(r"\d{3}\.\d{3}", text):
        raise ValueError(f"{text!r} is not the number of a tile (allowed: such as 277.282)")
    return text


def _date(text: str) -> str:
    try:
        return str(np.datetime64(text, "s"))
    except ValueError:
        raise ValueError(f"{text!r} is not a date (allowed: such as 2019-10-26T08:52:01)") from None


Tile = Annotated[str, AfterValidator(_tile)]
Date = Annotated[str, AfterValidator(_date)]


class FieldSection(Section):
    """[SURVEY]: where it is, and the seed of everything."""

    seed: int = option(1, at_least=0, doc="Seed of all random numbers.")
    tiles: list[Tile] = option(
        ["277.282"],
        doc="Numbers xxx.yyy of the stacked tiles. The first sets the centre of the survey: "
        "dec = yyy/2 - 90, ra = xxx/2/cos(dec).",
    )
    ra: float | None = option(None, unit="deg", doc="Centre, instead of that of the first tile.")
    dec: float | None = option(
        None, unit="deg", at_least=-90, at_most=90, doc="Centre, instead of that of the first tile."
    )


class CameraSection(Section):
    """[CAMERA]: MegaCam, or a rectangular mosaic."""

    geometry: Literal["grid", "megacam"] = option(
        "grid", doc="MegaCam with its 40 CCDs, or a mosaic of COLUMNS x ROWS CCDs."
    )
    columns: int = option(2, at_least=1, doc="CCDs along x (grid).")
    rows: int = option(2, at_least=1, doc="CCDs along y (grid); the upper half is rotated.")
    width: int = option(1024, at_least=64, unit="pixel", doc="CCD size along x (grid).")
    height: int = option(1024, at_least=64, unit="pixel", doc="CCD size along y (grid).")
    gap: int = option(60, at_least=0, unit="pixel", doc="Space between CCDs (grid).")
    pixel_scale: float = option(0.187, above=0, unit="arcsec", doc="Pixel size (grid).")
    cubic: float = option(
        -2.0, unit="deg^-2", doc="Distortion r_sky = r (1 + CUBIC r^2) (grid; MegaCam has its own)."
    )
    distortion_scatter: float = option(
        0.05, at_least=0,
        doc="Change of the distortion from exposure to exposure, relative to CUBIC.",
    )  # fmt: skip


class ExposureSection(Section):
    """[EXPOSURES]: how often and where the camera looks."""

    count: int = option(1, at_least=1, doc="Number of exposures.")
    first_number: int = option(
        2366993, at_least=1000000, at_most=9999999, doc="Number of the first; the others follow."
    )
    dither: float = option(
        20.0, at_least=0, unit="arcsec", doc="Radius of the disc of random pointings."
    )
    offsets_east: list[float] = option(
        [], unit="arcsec", doc="Pointings given one by one, with OFFSETS_NORTH, instead of DITHER."
    )
    offsets_north: list[float] = option([], unit="arcsec", doc="See OFFSETS_EAST.")
    angle_scatter: float = option(0.05, at_least=0, unit="deg", doc="Scatter of the camera angle.")
    time: float = option(200.0, above=0, unit="s", doc="Exposure time.")
    zero_point: float = option(
        31.9, doc="PHOTZP: magnitude that gives one ADU in TIME (26.15 in a second)."
    )
    zero_point_scatter: float = option(0.03, at_least=0, unit="mag", doc="Scatter of ZERO_POINT.")
    filter: str = option("r.MP9602", doc="Name of the filter.")
    ccds: Literal["all", "tiles"] = option(
        "all",
        doc="Expose all CCDs, or those that touch a tile; the others are dark: weight 0, flag 512.",
    )
    date: Date = option("2019-10-26T08:52:01", doc="Start of the first exposure (UTC).")


class SkySection(Section):
    """[SKY]: the background."""

    brightness: float = option(20.8, unit="mag/arcsec^2", doc="Surface brightness of the sky.")
    gradient: float = option(
        0.02, at_least=0, below=1, doc="Relative change of the sky from the axis to the edge."
    )


class PsfSection(Section):
    """[PSF]: seeing and optics."""

    profile: Literal["moffat", "kolmogorov"] = option("moffat", doc="Profile of the seeing disc.")
    beta: float = option(3.5, above=1.5, doc="Slope of the Moffat profile.")
    fwhm: float = option(0.68, above=0, unit="arcsec", doc="Seeing.")
    fwhm_scatter: float = option(0.05, at_least=0, doc="Relative scatter of the seeing.")
    ellipticity: float = option(
        0.015, at_least=0, doc="Scatter of each component of the mean g between exposures."
    )
    curvature: float = option(
        0.2, at_least=0, unit="arcsec", doc="Blur by defocus at the edge of the field."
    )
    astigmatism: float = option(0.02, at_least=0, doc="Ellipticity g at the edge of the field.")
    coma: float = option(
        0.05, at_least=0, unit="arcsec", doc="Displacement of a fifth of the light at the edge."
    )


class StarSection(Section):
    """[STARS]: number counts."""

    layout: Literal["random", "grid"] = option(
        "random", doc="Random positions, or nodes of the galaxies' grid that hold a star instead."
    )
    density: float = option(
        4.0,
        at_least=0,
        at_most=1000,
        unit="arcmin^-2",
        doc="Stars between MAG_BRIGHT and MAG_FAINT (random).",
    )
    share: float = option(
        0.15, at_least=0, at_most=1, doc="Part of the nodes that hold a star (grid)."
    )
    mag_bright: float = option(14.0, doc="Brightest.")
    mag_faint: float = option(24.0, doc="Faintest.")
    slope: float = option(0.12, above=0, doc="Counts grow as 10^(SLOPE mag).")
    catalogue_limit: float = option(19.0, doc="Faintest star of the star catalogue.")


class GalaxySection(Section):
    """[GALAXIES]: number counts, shapes and shear."""

    layout: Literal["random", "grid"] = option("random", doc="Random positions, or a square grid.")
    spacing: float = option(9.0, at_least=2, unit="arcsec", doc="Distance of neighbours (grid).")
    density: float = option(
        30.0,
        at_least=0,
        at_most=1000,
        unit="arcmin^-2",
        doc="Galaxies between the two limits (random).",
    )
    mag_bright: float = option(18.0, doc="Brightest.")
    mag_faint: float = option(25.0, doc="Faintest.")
    slope: float = option(0.33, above=0, doc="Counts grow as 10^(SLOPE mag).")
    sersic: list[float] = option([1.0, 1.5, 2.5, 4.0], doc="Sersic indices.")
    sersic_weights: list[float] = option([0.6, 0.2, 0.1, 0.1], doc="How often each occurs.")
    size_factor: float = option(1.0, above=0, doc="Factor on the median half-light radius.")
    size_scatter: float = option(0.3, at_least=0, doc="Scatter of the logarithm of the radius.")
    ellipticity: float = option(
        0.25, at_least=0, doc="Scatter of each component of the intrinsic g, before shear."
    )
    pairs: bool = option(
        False, doc="Make every second galaxy the twin of its neighbour, turned by 90 degrees."
    )
    turn: bool = option(
        False, doc="Turn every galaxy by 90 degrees before it is sheared: a twin of the survey."
    )
    shear: Literal["constant", "patches"] = option(
        "constant", doc="G1, G2 everywhere, or besides them a shear of its own in each patch."
    )
    g1: float = option(0.02, above=-1, below=1, doc="Shear, positive along east-west.")
    g2: float = option(0.0, above=-1, below=1, doc="Shear, positive from north-west to south-east.")
    amplitude: float = option(0.05, at_least=0, below=1, doc="Largest shear of a patch.")
    patch_size: float = option(6.0, above=0, unit="arcmin", doc="Side of a patch.")


class DetectorSection(Section):
    """[DETECTOR]: what spoils an image."""

    noise: bool = option(True, doc="Photon noise and read noise.")
    noise_law: Literal["poisson", "normal", "reversed"] = option(
        "poisson",
        doc="How photons scatter. Normal: each pixel by the same random number whatever is drawn "
        "on it, so that twins of a survey share their noise; reversed: by minus that number.",
    )
    bleeding: bool = option(True, doc="Let charge above saturation flow along the columns.")
    bad_columns: float = option(2.0, at_least=0, doc="Mean number of bad columns of a CCD.")
    cosmic_rays: float = option(
        10.0, at_least=0, doc="Hits per million pixels, each flagged with weight zero."
    )
    trails: float = option(0.3, at_least=0, doc="Mean number of satellites crossing an exposure.")


class FileSection(Section):
    """[FILES]: how the survey is written."""

    names: Literal["pipeline", "cfht"] = option(
        "pipeline", doc="image-2366993.fits and its like, or as from the archive: 2366993p.fits."
    )
    extension: Literal[".fits.fz", ".fitsfz", ".fits", ".fits.gz"] = option(
        ".fits.fz", doc="Ending of the mosaics: compressed by tiles, plain, or gzip."
    )
    star_text: bool = option(True, doc="Write the star catalogue of each CCD as text as well.")


class StackSection(Section):
    """[STACK]: tiles, made by SWarp."""

    make: bool = option(False, doc="Stack the exposures of each tile.")
    program: str = option("SWarp", doc="Name or path of SWarp.")
    size: int = option(10000, at_least=64, unit="pixel", doc="Side of a tile.")
    pixel_scale: float = option(0.186, above=0, unit="arcsec", doc="Pixel size of a tile.")
    spacing: float = option(
        0.5, above=0, unit="deg", doc="Distance between tiles whose numbers differ by one."
    )
    combine: Literal["WEIGHTED", "MEDIAN", "CLIPPED", "AVERAGE"] = option(
        "WEIGHTED", doc="How SWarp combines."
    )
    background: int = option(
        256, at_least=0, unit="pixel", doc="Mesh of the background to subtract; 0: leave the sky."
    )


@dataclass(frozen=True)
class Survey:
    """A survey to simulate: its sections, each with its defaults."""

    survey: FieldSection = field(default_factory=FieldSection)
    camera: CameraSection = field(default_factory=CameraSection)
    exposures: ExposureSection = field(default_factory=ExposureSection)
    sky: SkySection = field(default_factory=SkySection)
    psf: PsfSection = field(default_factory=PsfSection)
    stars: StarSection = field(default_factory=StarSection)
    galaxies: GalaxySection = field(default_factory=GalaxySection)
    detector: DetectorSection = field(default_factory=DetectorSection)
    files: FileSection = field(default_factory=FileSection)
    stack: StackSection = field(default_factory=StackSection)


SECTIONS = {item.name.upper(): item.default_factory for item in fields(Survey)}
"""Section name of the INI file to the class that declares its options."""


def read_survey(path: str | Path) -> Survey:
    """Read a survey from its INI file.

    Raises
    ------
    ConfigurationError
        With all complaints at once: unknown sections and options, values that are not allowed.
    """
    sections = read_sections(path, SECTIONS)
    survey = Survey(**{name.lower(): section for name, section in sections.items()})
    complaints = [f"{Path(path).name} {text}" for text in check_together(survey)]
    if complaints:
        raise ConfigurationError(complaints)
    return survey


def check_together(survey: Survey) -> list[str]:
    """Complain about what no single option can tell."""
    exposures, galaxies, complaints = survey.exposures, survey.galaxies, []
    given = {len(exposures.offsets_east), len(exposures.offsets_north)}
    if given not in ({0}, {exposures.count}):
        complaints.append(
            f"[EXPOSURES] OFFSETS_EAST, OFFSETS_NORTH: {len(exposures.offsets_east)} and "
            f"{len(exposures.offsets_north)} values (allowed: COUNT = {exposures.count} each)"
        )
    if not survey.survey.tiles:
        complaints.append("[SURVEY] TILES: names no tile")
    if len(galaxies.sersic) != len(galaxies.sersic_weights):
        complaints.append("[GALAXIES] SERSIC, SERSIC_WEIGHTS: lists of different lengths")
    if not sum(galaxies.sersic_weights) > 0 or min(galaxies.sersic_weights) < 0:
        complaints.append("[GALAXIES] SERSIC_WEIGHTS: must be positive numbers")
    if not all(0.3 <= n <= 6.2 for n in galaxies.sersic):
        complaints.append("[GALAXIES] SERSIC: an index is not between 0.3 and 6.2")
    if survey.stars.layout == "grid" and galaxies.layout != "grid":
        complaints.append("[STARS] LAYOUT: grid, but the galaxies are not on one")
    for name in ("stars", "galaxies"):
        section = getattr(survey, name)
        if not section.mag_bright < section.mag_faint:
            complaints.append(f"[{name.upper()}] MAG_BRIGHT: is not below MAG_FAINT")
    return complaints


def tile_centre(tile: str) -> tuple[float, float]:
    """Right ascension and declination of a tile's centre, deg, from its number xxx.yyy."""
    x, y = (int(part) for part in tile.replace("-", ".").split("."))
    dec = y / 2.0 - 90.0
    return x / 2.0 / math.cos(math.radians(dec)), dec


def write_survey(survey: Survey, path: str | Path) -> None:
    """Write every option of a survey with its value, as an INI file that `read_survey` takes."""
    lines = []
    for name in SECTIONS:
        lines.append(f"[{name}]")
        for key, value in getattr(survey, name.lower()):
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{key.upper()} = {'' if text is None else text}".rstrip())
        lines.append("")
    Path(path).write_text("\n".join(lines), encoding="utf-8")
