"""From what is in a folder to what a run should do: each choice with its value and its reason.

Nothing is written here; `configuration` turns a proposal into files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shapepipe.astro.frames import look, role_in
from shapepipe.starter.survey import ImageSet, Seen, Survey, look_at_pixels

FEWEST_STARS = 8
"""Stars that a quick look must see in an image before a PSF model is proposed."""
FEWEST_STARS_RAW = 60
"""The same for raw images, whose hot pixels are taken for stars where there are few."""
STARS_FOR_DEGREE = ((60, 2, 12), (20, 1, 6), (0, 0, 3))
"""Stars seen from which on, degree of the polynomial of the PSF, fewest stars for a model."""
DEFAULT_ZERO_POINT = 30.0  # mag
FULL_RANGE = 0.9  # of what the pixels can hold, where nothing tells what is saturated
SEEING = 0.8  # arcsec; where no star could be measured

Ask = Callable[[str, object, str], object]
"""Asked with a question, the guess and its reason; returns the answer."""


@dataclass(frozen=True)
class Choice:
    """A value and why it was chosen."""

    value: object
    why: str


@dataclass
class Proposal:
    """What a run should do.

    Attributes
    ----------
    images : ImageSet
        The images to process.
    seen : Seen
        What their pixels show.
    n_hdu : int
        Number of CCDs of a mosaic; 0 for single images.
    preparation : dict of int to list
        HDU -> roles that are taken from it by uncompress_fits_runner; empty if images can be read
        as they are.
    stacks : ImageSet or None
        Stacks of the images, if they are exposures whose shapes can be measured.
    """

    survey: Survey
    images: ImageSet
    seen: Seen
    n_hdu: int
    hdu_names: list[str]
    preparation: dict[int, list[str]]
    gain: Choice
    saturation: Choice
    saturation_card: str
    zero_point: Choice
    zero_point_card: str
    scale: Choice
    psf: Choice
    degree: int = 2
    min_stars: int = 12
    stacks: ImageSet | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def fwhm(self) -> float:
        """Typical FWHM of the stars, in pixels."""
        return self.seen.fwhm[1] if self.seen.fwhm else SEEING / (self.scale.value or SEEING / 4)

    @property
    def roles(self) -> list[str]:
        """Kinds of pixels that there are: image, weight, flag."""
        inside = [role for roles in self.preparation.values() for role in roles]
        return [
            r for r in ("image", "weight", "flag") if r in inside or r in self.images.units.roles
        ]

    @property
    def has_sky(self) -> bool:
        """Whether the images have sky coordinates."""
        return self.images.layer.scale is not None

    @property
    def image_name(self) -> str:
        """What split images are called; only images with sky coordinates are called `image`."""
        return "image" if self.has_sky else "ccd"


def propose(survey: Survey, ask: Ask) -> Proposal:
    """Decide on everything.

    Parameters
    ----------
    survey : Survey
        What is in the folder.
    ask : callable
        See `Ask`.
    """
    images = _choose_set(survey, ask)
    seen = look_at_pixels(images)
    layer, cards = images.layer, images.layer.cards
    notes = list(seen.problems)
    if images.raw:
        notes.append(
            f"These images seem to be raw: {images.raw}. ShapePipe needs calibrated images (bias, "
            "dark and flat taken out, sky coordinates). What follows detects sources and models "
            "the PSF on the images as they are: good for a look, not for measurement."
        )
    if layer.problem:
        notes.append(f"The sky coordinates cannot be used: {layer.problem}.")
    incomplete = _incomplete(images)
    if incomplete:
        notes.append(incomplete)
    n_hdu, names = _mosaic(images, notes)
    saturation, saturation_card = _saturation(images, seen, ask)
    zero_point, zero_card = _zero_point(images, ask)
    gain = cards.get("gain")
    stacks = find_stacks(survey, images, notes)
    degree, fewest = next((d, n) for stars, d, n in STARS_FOR_DEGREE if seen.n_stars >= stars)
    return Proposal(
        survey, images, seen, n_hdu, names,
        preparation={} if n_hdu else preparation(images),
        gain=Choice(gain[0] if gain else "GAIN", _gain_reason(gain)),
        saturation=saturation, saturation_card=saturation_card,
        zero_point=zero_point, zero_point_card=zero_card,
        scale=_scale(images, ask), psf=_psf(images, seen, ask),
        degree=degree, min_stars=fewest, stacks=stacks, notes=notes,
    )  # fmt: skip


def _choose_set(survey: Survey, ask: Ask) -> ImageSet:
    if len(survey.sets) == 1:
        return survey.sets[0]
    lines = [f"{k}: {found.title}" for k, found in enumerate(survey.sets, 1)]
    why = "; ".join([*lines, "the likeliest is the first"])
    answer = int(str(ask("Which set of images", 1, why)))
    return survey.sets[min(max(answer, 1), len(lines)) - 1]


def find_stacks(survey: Survey, images: ImageSet, notes: list[str]) -> ImageSet | None:
    """Stacks of the exposures, or None; notes say what hinders, and what to do next."""
    if images.exposures:
        notes.append(
            "These images are stacks; their HISTORY names exposures such as "
            f"{images.exposures[0]}. What follows detects sources on the stacks. "
            "Shapes are measured on the exposures: run "
            "`shapepipe init` on a folder with the exposures and the stacks, or take "
            "config_exp.ini and config_tile.ini of example/config as they are explained in the "
            "tutorial of the documentation."
        )
        return None
    stacks = next((found for found in survey.sets if found.exposures and not found.raw), None)
    if stacks is None:
        return None
    numbers = {number.strip("-_") for number in images.units.files}
    absent = [name for name in stacks.exposures if name not in numbers]
    lacking = [role for role in ("weight", "flag") if role not in images.units.roles]
    if images.frame.is_mosaic and not absent and not lacking and "weight" in stacks.units.roles:
        return stacks
    reason = (
        f"exposure {absent[0]} of the stack {stacks.names[0].path.name} is not there" if absent
        else "the exposures are single images, not mosaics" if not images.frame.is_mosaic
        else f"the exposures have no {' and no '.join(lacking)} images" if lacking
        else "the stacks have no weight images"
    )  # fmt: skip
    notes.append(f"No chain for the stacks is proposed: {reason}.")
    return None


def _incomplete(images: ImageSet) -> str:
    """Say which images lack a weight or a flag that others have."""
    files = images.units.files
    every = {role for found in files.values() for role in found}
    lacking = {n: sorted(every - set(found)) for n, found in files.items() if every - set(found)}
    if not lacking:
        return ""
    shown = ", ".join(f"{number} has no {' or '.join(what)}" for number, what in
                      list(lacking.items())[:3])  # fmt: skip
    return f"Not every image has all files: {shown}. What only some have is not used."


def _mosaic(images: ImageSet, notes: list[str]) -> tuple[int, list[str]]:
    """Number of CCDs, and their EXTNAMEs where they are not simply HDU 1, 2, 3 ..."""
    if not images.frame.is_mosaic:
        return 0, []
    layers = images.frame.science
    if [layer.hdu for layer in layers] == list(range(1, len(layers) + 1)):
        return len(layers), []
    names = [layer.name for layer in layers]
    if "" in names or len(set(names)) < len(names):
        notes.append("The images of the mosaic have no names of their own; check N_HDU.")
        return len(layers), []
    return len(layers), names


def preparation(images: ImageSet) -> dict[int, list[str]]:
    """HDU -> roles of what must be unpacked."""
    layer, frame = images.layer, images.frame
    extra = {
        role: other.hdu
        for other in frame.layers
        for role in (role_in(other.name),)
        if role in ("weight", "flag") and other.size == layer.size
    }
    places = {role: _place(images, role) for role in images.units.roles}
    if not extra and all(place == (0, False) for place in places.values()):
        return {}
    found: dict[int, list[str]] = {}
    for role, (hdu, _) in places.items():
        found.setdefault(hdu, []).append(role)
    for role, hdu in extra.items():
        if role not in images.units.roles:
            found.setdefault(hdu, []).append(role)
    return found


def _place(images: ImageSet, role: str) -> tuple[int, bool]:
    """HDU in which the pixels of a role are, and whether the file is packed."""
    path = next(files[role] for files in images.units.files.values() if role in files)
    frame = images.frame if role == "image" else look(path)
    hdus = [layer.hdu for layer in frame.layers if layer.size == images.layer.size]
    return (images.layer.hdu if role == "image" or not hdus else hdus[0]), frame.compressed


def _saturation(images: ImageSet, seen: Seen, ask: Ask) -> tuple[Choice, str]:
    layer, card = images.layer, images.layer.cards.get("saturation")
    if card:
        return Choice(card[1], f"header card {card[0]}"), card[0]
    if seen.saturation:
        guess, why = seen.saturation, "many pixels pile up just above"
    elif layer.kind == "i" and layer.bits <= 16:
        guess, why = FULL_RANGE * 65535, "no card tells; 90 % of what 16 bits can hold"
    else:
        guess, why = max(seen.top, 1.0), "no card tells; the brightest pixel seen"
    answer = float(str(ask("Level at which pixels are saturated", round(guess, 1), why)))
    return Choice(answer, why if answer == round(guess, 1) else "as you said"), ""


def _zero_point(images: ImageSet, ask: Ask) -> tuple[Choice, str]:
    card = images.layer.cards.get("zero_point")
    if card:
        return Choice(card[1], f"header card {card[0]}, for each image its own"), card[0]
    why = "no card tells; magnitudes are then relative"
    answer = float(str(ask("Magnitude zero point", DEFAULT_ZERO_POINT, why)))
    return Choice(answer, why if answer == DEFAULT_ZERO_POINT else "as you said"), ""


def _gain_reason(gain) -> str:
    if gain:
        return f"header card {gain[0]} = {gain[1]:g}"
    return "no card tells; photon noise of the sources is left out of the errors"


def _scale(images: ImageSet, ask: Ask) -> Choice:
    layer = images.layer
    if layer.scale:
        return Choice(layer.scale, f"from the sky coordinates ({layer.projection}) of the header")
    why = "no sky coordinates; 0 if you do not know: sizes are then in pixels"
    answer = float(str(ask("Pixel scale in arcsec", 0.0, why)))
    return Choice(0.0, why) if answer <= 0 else Choice(answer, "as you said")


def _psf(images: ImageSet, seen: Seen, ask: Ask) -> Choice:
    if not seen.fwhm:
        return Choice(False, "no stars could be told from the rest at a quick look")
    fewest = FEWEST_STARS_RAW if images.raw else FEWEST_STARS
    enough = seen.n_stars >= fewest
    why = (
        f"a quick look sees about {seen.n_stars} stars in an image, FWHM "
        f"{seen.fwhm[0]:.1f} to {seen.fwhm[2]:.1f} pixels"
    ) + ("" if enough else f"; {fewest} are asked for" + " of raw images" * bool(images.raw))
    answer = ask("Model the PSF (yes or no)", "yes" if enough else "no", why)
    return Choice(str(answer).lower() in ("yes", "y", "true"), why)
