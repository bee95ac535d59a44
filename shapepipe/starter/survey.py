"""What is in a folder of FITS files: sets of images that belong together, and what the rest is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shapepipe.astro import fits, frames, quicklook, sightings
from shapepipe.astro.frames import Frame, Layer
from shapepipe.errors import BadInput, ConfigurationError
from shapepipe.starter.names import Name, Units, gather, is_fits, kind_of_name, take_apart

LOOKED_AT = 6
"""Files of a kind whose headers are read."""
MEASURED = 3
"""Files of a set whose pixels are looked at."""
MEASURED_CCDS = 2
"""CCDs of each of them."""
LISTED = 3


@dataclass
class ImageSet:
    """Images of one kind, with their weights and flags.

    Attributes
    ----------
    units : Units
        Files by number and role.
    frame : Frame
        What the header of one of the images tells.
    raw : str
        Why the images seem to be raw; empty if they do not.
    exposures : tuple of str
        Numbers of the exposures that the first image is a stack of; empty if it is none.
    """

    units: Units
    frame: Frame
    names: list[Name]
    raw: str = ""
    exposures: tuple[str, ...] = ()

    @property
    def layer(self) -> Layer:
        """First image HDU."""
        return self.frame.science[0]

    @property
    def title(self) -> str:
        """Name for people."""
        size = " x ".join(str(n) for n in self.layer.size)
        ccds = f"{len(self.frame.science)} images of " if self.frame.is_mosaic else ""
        roles = " + ".join(self.units.roles)
        stacks = f", stacks of exposures such as {self.exposures[0]}" if self.exposures else ""
        return (
            f"{len(self.units.files)} x {roles}, {ccds}{size} pixels, such as "
            f"{self.names[0].path.name}{stacks}"
        )

    @property
    def weight(self) -> tuple:
        """Which set is the likeliest to be meant: calibrated, on the sky, exposures, large."""
        area = self.layer.size[0] * self.layer.size[1] * len(self.frame.science)
        on_sky = self.layer.scale is not None
        return not self.raw, on_sky, not self.exposures, len(self.units.files) * area


@dataclass
class Survey:
    """A folder: sets of images, the likeliest first, and what else there is."""

    folder: Path
    sets: list[ImageSet] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def look_around(folder: str | Path) -> Survey:
    """Look at the names and headers of all FITS files below a folder.

    Raises
    ------
    ConfigurationError
        When there is no FITS file, or no image that could be processed; says what there is.
    """
    folder = Path(folder).absolute()
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and is_fits(path)]
    if not paths:
        raise ConfigurationError(f"{folder}: there is no FITS file (*.fits, *.fit, *.fz, *.gz)")
    kinds: dict[tuple, list[Name]] = defaultdict(list)
    for path in paths:
        name = take_apart(path)
        kinds[kind_of_name(name)].append(name)
    survey, calibration = Survey(folder), []
    for names in kinds.values():
        for kind, mine in _by_frame_kind(names).items():
            _sort_in(survey, calibration, kind, mine)
    _tell_raw(survey, calibration)
    survey.others += calibration
    if not survey.sets:
        there = "; ".join(survey.others[:8])
        raise ConfigurationError(
            f"{folder}: there is no image of the sky to process, but {there}. ShapePipe needs "
            "calibrated images: bias, dark and flat taken out"
        )
    survey.sets.sort(key=lambda found: found.weight, reverse=True)
    return survey


def _by_frame_kind(names: list[Name]) -> dict[str, list[Name]]:
    """Divide files into light, bias, dark and flat; all headers are read where they differ."""
    sample = {name.path: frames.look(name.path) for name in _spread(names, LOOKED_AT)}
    kinds = {frame.frame_kind for frame in sample.values() if frame.layers}
    if len(kinds) == 1:
        return {kinds.pop(): names}
    found = defaultdict(list)
    for name in names:
        found[frames.look(name.path).frame_kind or "light"].append(name)
    return found


def _spread(items: list, count: int) -> list:
    if len(items) <= count:
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, count).astype(int)]


def _sort_in(survey: Survey, calibration: list[str], kind: str, names: list[Name]) -> None:
    shown = _shown(names)
    if kind != "light":
        calibration.append(f"{_count(names, kind + ' frame')} ({shown})")
        return
    roles = _roles(names)
    images = [name for name in names if roles[name.path] == "image"]
    looked = [frames.look(name.path) for name in _spread(images, LOOKED_AT)]
    good = [frame for frame in looked if frame.science]
    if not good:
        problems = [frame.problem for frame in looked if frame.problem]
        what = problems[0] if problems else "no image in them" if images else "weights or flags"
        survey.others.append(f"{_count(names, 'file')} ({shown}): {what}")
        return
    found = ImageSet(gather(names, roles), good[0], images)
    if not found.frame.is_mosaic:
        header = fits.read_header(found.frame.path, found.layer.hdu)
        found.exposures = tuple(sightings.exposure_names(header))
    survey.sets.append(found)


def _count(names: list[Name], what: str) -> str:
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}"


def _shown(names: list[Name]) -> str:
    listed = ", ".join(name.path.name for name in names[:LISTED])
    return listed + (", ..." if len(names) > LISTED else "")


def _roles(names: list[Name]) -> dict[Path, str]:
    """What each file is: by a word in its name, else by the pixels of one that has none."""
    roles = {name.path: name.role for name in names}
    unnamed = [name.path for name in names if not name.role]
    if unnamed:
        guess = _role_by_pixels(unnamed[0])
        roles.update(dict.fromkeys(unnamed, guess))
    if "image" not in roles.values() and _holds_all(names[0].path):
        roles = dict.fromkeys(roles, "image")
    return roles


def _holds_all(path: Path) -> bool:
    """Whether a file holds an image together with its weight or flags."""
    frame = frames.look(path)
    inner = {frames.role_in(layer.name) for layer in frame.layers}
    return bool(frame.science) and bool(inner & {"weight", "flag"})


def _role_by_pixels(path: Path) -> str:
    frame = frames.look(path)
    if not frame.science:
        return "image"
    try:
        data = fits.read_image(path, frame.science[0].hdu, finite=False)
    except BadInput:
        return "image"
    return frames.role_of_pixels(data, frame.science[0].kind)


def _tell_raw(survey: Survey, calibration: list[str]) -> None:
    """Mark the sets that seem to come straight from the camera."""
    for found in survey.sets:
        layer = found.layer
        if layer.scale is not None or layer.problem:
            continue
        if layer.overscan:
            found.raw = "the header has an overscan section (BIASSEC)"
        elif layer.kind == "i" and calibration:
            found.raw = (
                "the pixels are whole numbers without sky coordinates, and beside them are "
                + ", ".join(calibration)
            )


@dataclass(frozen=True)
class Seen:
    """What the pixels of some images of a set show.

    Attributes
    ----------
    fwhm : tuple of float
        Smallest, median and largest FWHM of the stars of an image, in pixels; empty if no image
        has enough of them.
    n_stars : int
        Median number of stars of an image.
    saturation : float or None
        Where pixels pile up.
    object_bits : int
        Bits of the flag images that mark most bright sources, and so no defects.
    """

    fwhm: tuple[float, ...]
    n_stars: int
    saturation: float | None
    noise: float
    top: float
    object_bits: int = 0
    problems: tuple[str, ...] = ()


def look_at_pixels(found: ImageSet) -> Seen:
    """Take a quick look at a few images of a set."""
    looks, problems, bits = [], [], []
    for path in _spread([name.path for name in found.names], MEASURED):
        layers = frames.look(path).science
        for layer in _spread(layers, MEASURED_CCDS):
            try:
                data = fits.read_image(path, layer.hdu)
            except BadInput as error:
                problems.append(str(error))
                continue
            card = layer.cards.get("saturation")
            looks.append(quicklook.look(data, card[1] if card else None))
            bits.append(_object_bits(found, path, layer, looks[-1].places))
    if not looks:
        raise ConfigurationError(problems or [f"{found.frame.path}: has no image"])
    sizes = sorted(look.fwhm for look in looks if look.fwhm)
    levels = [look.saturation for look in looks if look.saturation]
    return Seen(
        (sizes[0], float(np.median(sizes)), sizes[-1]) if sizes else (),
        int(np.median([look.n_stars for look in looks])),
        min(levels) if levels else None,
        float(np.median([look.noise for look in looks])),
        max(look.top for look in looks),
        int(np.bitwise_or.reduce(bits)),
        tuple(problems),
    )


def _object_bits(found: ImageSet, path: Path, layer: Layer, places) -> int:
    """Bits of the flag file of an image that are set at its bright sources."""
    flag = next(
        (files["flag"] for files in found.units.files.values()
         if files.get("image") == path and "flag" in files), None,
    )  # fmt: skip
    if flag is None:
        return 0
    try:
        flags = fits.read_image(flag, layer.hdu, finite=False)
    except BadInput:
        return 0
    return quicklook.object_bits(flags, places) if flags.shape == layer.size[::-1] else 0
