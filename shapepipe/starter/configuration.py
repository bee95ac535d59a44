"""A proposal written down: an INI file with the reason of each choice, and the files beside it."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path

from shapepipe.errors import ConfigurationError
from shapepipe.starter.chain import ini_text, links_folder
from shapepipe.starter.names import Units
from shapepipe.starter.proposal import Proposal
from shapepipe.starter.tiles import DEEP, for_stacks, tile_text

TEMPLATES = Path(str(files("shapepipe"))) / "data" / "start"
STAMP = (25, 51)
"""Smallest and largest side of a stamp, in pixels."""
STAMP_FWHM = 10.0
"""Side of a stamp in units of the FWHM."""
PRESELECTED = (0.6, 2.0)
"""Sizes of objects that may be stars, in units of the smallest and the largest FWHM seen."""
LOCUS = 0.1
"""Half width of the stellar locus, in units of the FWHM."""


def write(proposal: Proposal, ini: Path) -> list[Path]:
    """Write all files of a configuration.

    Parameters
    ----------
    proposal : Proposal
        What to do.
    ini : Path
        The INI file; the others are put beside it.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigurationError
        When one of the files is there already; nothing has been written then.
    """
    folder = ini.absolute().parent
    texts = {
        ini.absolute(): ini_text(proposal, folder, ini.name),
        folder / "default.sex": sex_text(proposal),
        folder / "default.conv": _template("default.conv"),
        folder / "default.param": param_text(proposal),
        folder / "image.mask": mask_text(proposal),
    }
    if proposal.psf.value:
        texts[folder / "default.psfex"] = psfex_text(proposal)
        texts[folder / "star_selection.setools"] = selection_text(proposal)
    if proposal.stacks:
        name = f"{ini.stem}_tile.ini"
        texts[folder / name] = tile_text(proposal, folder, (ini.name, name), stamp_side(proposal))
        texts[folder / "default_tile.sex"] = set_values(sex_text(for_stacks(proposal)), DEEP)
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise ConfigurationError(f"{', '.join(there)}: is there already and is not overwritten")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    (folder / "output").mkdir(exist_ok=True)
    for images in filter(None, (proposal, proposal.stacks and for_stacks(proposal))):
        if not images.images.units.as_they_are:
            _make_links(images.images.units, folder / links_folder(images))
    return list(texts)


def _make_links(units: Units, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for number, by_role in units.files.items():
        for role, path in by_role.items():
            link = folder / f"{units.pattern[role]}{number}{units.ext[role]}"
            if not link.is_symlink():
                link.symlink_to(path)


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def set_values(text: str, values: dict[str, tuple[object, str]]) -> str:
    """Replace values in the text of a `.sex` or `.psfex` file; each gets its reason."""
    for key, (value, why) in values.items():
        line = f"{key:<17} {value!s:<11} # {why}"
        text, count = re.subn(rf"^{key}\s.*$", lambda _, line=line: line, text, flags=re.MULTILINE)
        if not count:
            text += line + "\n"
    return text


def sex_text(proposal: Proposal) -> str:
    """SExtractor settings."""
    scale = proposal.scale.value
    saturation, zero_point = proposal.saturation, proposal.zero_point
    values = {
        "SATUR_KEY": (proposal.saturation_card or "SATURATE", "card with the saturation level"),
        "SATUR_LEVEL": (f"{saturation.value:.1f}", saturation.why),
        "GAIN_KEY": (proposal.gain.value, proposal.gain.why),
        "MAG_ZEROPOINT": (f"{zero_point.value:.4f}", zero_point.why),
        "PIXEL_SCALE": (0 if proposal.has_sky else scale or 1.0, proposal.scale.why),
        "SEEING_FWHM": (f"{proposal.fwhm * (scale or 1.0):.2f}", "arcsec, from a quick look"),
    }
    if proposal.images.raw:
        values["DETECT_THRESH"] = (3.0, "raw images: hot pixels are many")
        values["ANALYSIS_THRESH"] = (3.0, "the same")
    head = "# SExtractor settings, made by `shapepipe init`.\n"
    body = _template("default.sex").partition("\n\n")[2]
    return f"{head}\n{set_values(body, values)}"


def stamp_side(proposal: Proposal) -> int:
    """Side of the stamps in pixels; odd."""
    side = int(STAMP_FWHM * proposal.fwhm) // 2 * 2 + 1
    return min(max(side, STAMP[0]), STAMP[1])


def param_text(proposal: Proposal) -> str:
    """Columns of the catalogue, with stamps of a fitting size."""
    side = stamp_side(proposal)
    return re.sub(r"VIGNET\(\d+,\d+\)", f"VIGNET({side},{side})", _template("default.param"))


def psfex_text(proposal: Proposal) -> str:
    """PSFEx settings."""
    side = stamp_side(proposal)
    seen = f"about {proposal.seen.n_stars} stars seen in an image"
    values = {
        "PSF_SIZE": (f"{side},{side}", f"{STAMP_FWHM:g} times the FWHM, times PSF_SAMPLING"),
        "PSFVAR_DEGREES": (proposal.degree, seen),
    }
    return set_values(_template("default.psfex"), values)


def mask_text(proposal: Proposal) -> str:
    """Mask settings: deep-sky objects where there are sky coordinates."""
    text = _template("image.mask")
    if proposal.has_sky:
        for name in ("MESSIER", "NGC"):
            text = text.replace(f"{name}_MAKE = False", f"{name}_MAKE = True")
    bits = proposal.seen.object_bits
    if bits:
        why = "# These bits are set at most bright sources of the images: they mark no defects."
        text = text.replace("EF_MAKE = True", f"EF_MAKE = True\n{why}\nEF_IGNORE = {bits}")
    return text


def selection_text(proposal: Proposal) -> str:
    """Star selection, with sizes from the quick look."""
    small, typical, large = proposal.seen.fwhm
    width = max(0.15, LOCUS * typical)
    why = f"Made by shapepipe init: {proposal.psf.why}."
    values = {
        "WHY": why,
        "SMALL": f"{PRESELECTED[0] * small:.2f}",
        "LARGE": f"{PRESELECTED[1] * large:.2f}",
        "WIDTH": f"{width:.2f}",
        "BRIGHT": f"{brightest(proposal):.2f}",
        "AXIS": f"{5 * typical:.0f}",
    }
    return re.sub(
        r"@([A-Z]+)@", lambda hit: values[hit.group(1)], _template("star_selection.setools")
    )


def brightest(proposal: Proposal) -> float:
    """Magnitude of a star whose peak is at 80 % of the saturation level.

    A Gaussian of this FWHM and peak has the flux 1.133 FWHM^2 peak.
    """
    level = 0.8 * float(proposal.saturation.value)
    flux = 1.133 * proposal.fwhm**2 * max(level, 1.0)
    return float(proposal.zero_point.value) - 2.5 * math.log10(flux)
