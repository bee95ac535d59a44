"""Flag images: borders, bright stars, deep-sky objects, missing data and external flags.

The masks are declared in a second INI file, MASK_CONFIG_PATH, whose sections stand here.

Algorithm
---------
Each mask ORs its bit into the image. Halos and spikes of bright stars are polygons, scaled by 1 -
growth (mag - pivot) about the star, which may lie outside of the image; a pixel belongs to a
polygon if its centre lies inside (non-zero winding). Messier and NGC objects are discs and
ellipses of their catalogued size. No data are pixels of weight zero or not finite.

References
----------
Hormann & Agathos 2001, Comput. Geom. 20, 131 (winding numbers); OpenNGC, M. Verga (sizes of
deep-sky objects); Guinot et al. 2022, A&A 666, A162 (shapes of halos and spikes).
"""

from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from shapepipe import (
    BadInput,
    ConfigurationError,
    Input,
    InputFile,
    Options,
    Output,
    Section,
    option,
    read_sections,
    runner,
)
from shapepipe.astro import deepsky, fits, starcat, wcs
from shapepipe.astro.flagimage import Circles, FlagImage, Recipe, compose
from shapepipe.astro.flags import MaskBit, drop_bits, integer_flags
from shapepipe.astro.masks import StarMark, read_outline
from shapepipe.astro.vicinity import Vicinity

DATA = Path(str(files("shapepipe"))) / "data" / "mask"
LARGEST_BIT = 1 << 30
BRIGHTEST = -2.0  # mag: the brightest star that an on-line query may have missed outside the image


class MaskSection(Section):
    """A section of the mask configuration."""

    def model_post_init(self, _):
        """Refuse flag values that are not one bit."""
        for name, value in self:
            if name.endswith("_flag_value") and not (
                1 <= value <= LARGEST_BIT and value.bit_count() == 1
            ):
                raise ValueError(
                    f"{name.upper()} = {value} is not one bit (allowed: 1, 2, 4 ... {LARGEST_BIT})"
                )


class BorderSection(MaskSection):
    """[BORDER_PARAMETERS]"""

    border_make: bool = option(False, doc="Mask the border of the image.")
    border_width: int = option(50, at_least=0, unit="pixel", doc="Width on all four sides.")
    border_flag_value: int = option(int(MaskBit.BORDER), doc="Value of the bit.")


class HaloSection(MaskSection):
    """[HALO_PARAMETERS]"""

    retired: ClassVar = {"HALO_REG_FILE": "KEEP_REG_FILE = True writes all regions to one product"}
    halo_make: bool = option(False, doc="Mask the halos of bright stars.")
    halo_maskmodel_path: InputFile | None = option(
        None, doc="Outline at the pivot magnitude: offsets x, y in pixels. Default: for MegaPrime."
    )
    halo_mag_lim: float = option(13.0, unit="mag", doc="Stars brighter than this have a halo.")
    halo_scale_factor: float = option(
        0.05, unit="1/mag", doc="The outline is scaled by 1 - SCALE_FACTOR (mag - MAG_PIVOT)."
    )
    halo_mag_pivot: float = option(13.8, unit="mag", doc="Magnitude of the outline's own size.")
    halo_flag_value: int = option(int(MaskBit.HALO), doc="Value of the bit.")


class SpikeSection(MaskSection):
    """[SPIKE_PARAMETERS]"""

    retired: ClassVar = {"SPIKE_REG_FILE": "KEEP_REG_FILE = True writes all regions to one product"}
    spike_make: bool = option(False, doc="Mask the diffraction spikes of bright stars.")
    spike_maskmodel_path: InputFile | None = option(
        None, doc="Outline at the pivot magnitude: offsets x, y in pixels. Default: for MegaPrime."
    )
    spike_mag_lim: float = option(18.0, unit="mag", doc="Stars brighter than this have spikes.")
    spike_scale_factor: float = option(
        0.3, unit="1/mag", doc="The outline is scaled by 1 - SCALE_FACTOR (mag - MAG_PIVOT)."
    )
    spike_mag_pivot: float = option(13.8, unit="mag", doc="Magnitude of the outline's own size.")
    spike_flag_value: int = option(int(MaskBit.SPIKE), doc="Value of the bit.")


class MessierSection(MaskSection):
    """[MESSIER_PARAMETERS]"""

    retired: ClassVar = {"MESSIER_PIXEL_SCALE": "the WCS of the image tells it",
                         "PIXEL_SCALE": "the WCS of the image tells it"}  # fmt: skip
    messier_make: bool = option(False, doc="Mask Messier objects.")
    messier_cat_path: InputFile | None = option(
        None, doc="Table with ra, dec and sizes, of any format. Default: all 110 objects."
    )
    messier_size_plus: float = option(0.0, above=-1, doc="Relative enlargement of the radius.")
    messier_flag_value: int = option(int(MaskBit.MESSIER), doc="Value of the bit.")


class NGCSection(MaskSection):
    """[NGC_PARAMETERS]"""

    ngc_make: bool = option(False, doc="Mask objects of the New General Catalogue.")
    ngc_cat_path: InputFile | None = option(
        None, doc="Table with ra, dec and sizes, of any format. Default: NGC and IC, from OpenNGC."
    )
    ngc_size_plus: float = option(0.0, above=-1, doc="Relative enlargement of the radius.")
    ngc_flag_value: int = option(int(MaskBit.NGC), doc="Value of the bit.")


class ExternalSection(MaskSection):
    """[EXTERNAL_FLAG]"""

    ef_make: bool = option(True, doc="Keep the bits of the flag images, where USE_EXT_FLAG is on.")
    ef_ignore: int = option(
        0, at_least=0,
        doc="Bits that are not kept, added up: surveys also flag what is good, such as all pixels "
        "of detected or bright objects.",
    )  # fmt: skip


class MissingSection(MaskSection):
    """[MD_PARAMETERS]"""

    md_make: bool = option(False, doc="Judge images by their fraction of pixels without data.")
    md_thresh_flag: float = option(
        0.3, at_least=0, at_most=1, doc="Fraction from which MFLAG is set in the header."
    )
    md_thresh_remove: float = option(
        0.75, at_least=0, at_most=1, doc="Fraction from which MD_REMOVE acts."
    )
    md_remove: bool = option(False, doc="Mask such images as a whole.")


class OtherSection(MaskSection):
    """[OTHER]"""

    retired: ClassVar = {
        "KEEP_INDIVIDUAL_MASK": "each mask is a bit of the flag image, named in its header",
        "TEMP_DIRECTORY": "nothing is written but the products",
    }
    keep_reg_file: bool = option(False, doc="Write what was drawn as a DS9 region file.")


class ProgramSection(MaskSection):
    """[PROGRAM_PATH]"""

    retired: ClassVar = {
        "WW_PATH": "masks are drawn without WeightWatcher",
        "WW_CONFIG_FILE": "masks are drawn without WeightWatcher",
        "CDSCLIENT_PATH": "stars come from USE_EXT_STAR, STAR_CATALOGUE or STAR_QUERY",
    }


SECTIONS = {
    "PROGRAM_PATH": ProgramSection,
    "BORDER_PARAMETERS": BorderSection,
    "HALO_PARAMETERS": HaloSection,
    "SPIKE_PARAMETERS": SpikeSection,
    "MESSIER_PARAMETERS": MessierSection,
    "NGC_PARAMETERS": NGCSection,
    "EXTERNAL_FLAG": ExternalSection,
    "MD_PARAMETERS": MissingSection,
    "OTHER": OtherSection,
}


class MaskOptions(Options):
    """Which files there are, where the bright stars come from, and what is drawn."""

    mask_config_path: InputFile = option(
        doc="Second INI file, which says what to draw.", example="start/image.mask"
    )
    use_weight: bool = option(True, doc="The second file is a weight; its zeros are no data.")
    use_ext_flag: bool = option(False, doc="The next file holds flags to be kept.")
    use_ext_star: bool = option(False, doc="The last file is a star catalogue of this image.")
    star_catalogue: InputFile | None = option(
        None, doc="Table of bright stars for all images, of any format that astropy reads."
    )
    star_columns: list[str] = option(
        [], doc="Its columns: right ascension, declination, magnitudes. Default: the usual names."
    )
    star_query: str = option(
        "gaia",
        doc="Where to ask for stars if no catalogue is given: gaia, gsc (both need the network and "
        "astroquery), or package.module:function.",
    )
    hdu: int | None = option(
        None, at_least=0, doc="HDU of the flags to be kept. Default: the first with pixels."
    )
    prefix: str = option("", doc="Product is <PREFIX>_flag<number>.fits.", aliases=("SUFFIX",))
    outname_base: str = option("flag", doc="Name of the product after the prefix.")

    def model_post_init(self, _):
        """Read the mask configuration, so that its errors show before anything runs."""
        try:
            masks = read_sections(self.mask_config_path, SECTIONS)
            if self._asks(masks):
                starcat.find_query(self.star_query)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        if self.use_ext_star and self.star_catalogue:
            raise ValueError("USE_EXT_STAR and STAR_CATALOGUE exclude each other")
        if len(self.star_columns) in (1, 2):
            raise ValueError("STAR_COLUMNS needs a right ascension, a declination, and a magnitude")

    def secondary_files(self):
        """Outlines and catalogues that the mask configuration names."""
        sections = read_sections(self.mask_config_path, SECTIONS).values()
        return [path for section in sections for path in section.named_files()]

    def named(self, word: str) -> str:
        """File name of a product before its number."""
        return f"{self.prefix}_{word}" if self.prefix else word

    def _asks(self, masks) -> bool:
        stars = masks["HALO_PARAMETERS"].halo_make or masks["SPIKE_PARAMETERS"].spike_make
        return stars and not (self.use_ext_star or self.star_catalogue)


@runner(
    inputs=[
        Input("image", doc="Image with WCS."),
        Input("weight", when=lambda o: o.use_weight, doc="Its weight."),
        Input("flag", when=lambda o: o.use_ext_flag, doc="Flags that are there already."),
        Input("star_cat", ext=".cat", when=lambda o: o.use_ext_star, doc="Bright stars around it."),
    ],
    outputs=[
        Output("flag", pattern=lambda o: o.named(o.outname_base), doc="Bits OR-ed; WCS in header."),
        Output("regions", pattern=lambda o: o.named("regions"), ext=".reg", optional=True,
               doc="Polygons and circles for DS9, with KEEP_REG_FILE."),
    ],
    after=["split_exp_runner"],
    numbering="_0",
    aliases=("mask_runner_exp",),
)  # fmt: skip
def mask_runner(job, opts: MaskOptions):
    """Draw the masks of one image into a flag image."""
    retired: list[str] = []
    sections = read_sections(opts.mask_config_path, SECTIONS, retired)
    for line in retired:
        job.log.info("%s", line)
    recipe = make_recipe(sections)
    image, header = fits.read(job.inputs["image"], finite=False)
    weight = _read_like(image, job.inputs.get("weight"))
    flags = job.inputs.get("flag") if sections["EXTERNAL_FLAG"].ef_make else None
    external = _read_like(image, flags, opts.hdu)
    if external is not None:
        external = drop_bits(integer_flags(external, flags), sections["EXTERNAL_FLAG"].ef_ignore)
    vicinity = stars = None
    if recipe.marks or recipe.circles:
        vicinity = Vicinity(wcs.from_header(header, job.inputs["image"]), image.shape)
    if recipe.marks:
        stars = _bright_stars(job, opts, recipe, vicinity)
    try:
        result = compose(recipe, image, weight, external, vicinity, stars)
    except ValueError as error:
        raise BadInput(flags or job.inputs["image"], str(error)) from None
    fits.write_image(job.output("flag"), result.flags, result.header(header))
    if sections["OTHER"].keep_reg_file:
        job.output("regions").write_text(result.regions())
    return _report(job, result)


def make_recipe(sections: dict[str, Section]) -> Recipe:
    """Turn the mask configuration into what is to be drawn."""
    border, missing = sections["BORDER_PARAMETERS"], sections["MD_PARAMETERS"]
    wide = border.border_make and border.border_width > 0
    return Recipe(
        border=(border.border_width, border.border_flag_value) if wide else None,
        marks={
            name: _mark(sections[f"{name}_PARAMETERS"], name.lower())
            for name in ("HALO", "SPIKE")
            if getattr(sections[f"{name}_PARAMETERS"], f"{name.lower()}_make")
        },
        circles={
            name: _circles(sections[f"{name}_PARAMETERS"], name.lower())
            for name in ("MESSIER", "NGC")
            if getattr(sections[f"{name}_PARAMETERS"], f"{name.lower()}_make")
        },
        flag_above=missing.md_thresh_flag,
        remove_above=missing.md_thresh_remove if missing.md_make and missing.md_remove else None,
    )


def _mark(section, name):
    given = {key.removeprefix(f"{name}_"): value for key, value in section}
    return StarMark(
        outline=read_outline(given["maskmodel_path"] or DATA / f"{name}.reg"),
        faintest=given["mag_lim"],
        growth=given["scale_factor"],
        pivot=given["mag_pivot"],
        bit=given["flag_value"],
    )


def _circles(section, name):
    given = {key.removeprefix(f"{name}_"): value for key, value in section}
    default = DATA / {"messier": "messier.ecsv", "ngc": "ngc.fits"}[name]
    objects = deepsky.read(given["cat_path"] or default)
    return Circles(objects, given["size_plus"], given["flag_value"])


def _read_like(image, path, hdu=None):
    """Read an image that must have the shape of another; None where there is no file."""
    if path is None:
        return None
    data = fits.read_image(path, hdu, finite=False)
    if data.shape != image.shape:
        raise BadInput(path, f"has shape {data.shape}", f"that of the image, {image.shape}")
    return data


def _bright_stars(job, opts, recipe, vicinity):
    if opts.use_ext_star:
        return starcat.read(job.inputs["star_cat"])
    if opts.star_catalogue:
        ra, dec, *mags = opts.star_columns or (None, None)
        return starcat.read(opts.star_catalogue, ra, dec, mags)
    marks = recipe.marks.values()
    margin = max(mark.reach * mark.scales([BRIGHTEST])[0] for mark in marks) * vicinity.pixel_size
    faintest = max(mark.faintest for mark in marks)
    return starcat.query(opts.star_query, *vicinity.position, vicinity.radius + margin, faintest)


def _report(job, result: FlagImage):
    metrics = {f"{name}_fraction": value for name, value in result.fractions.items()}
    metrics |= {f"n_{name.lower()}": len(found) for name, found in result.circles.items()}
    metrics |= {"missing_ratio": result.ratio, "n_stars": len(result.stars)}
    metrics["n_stars_no_mag"] = int((result.stars != result.stars).sum())
    if result.shared():
        job.log.info("the external flags use the bits of %s too", ", ".join(result.shared()))
    if result.removed:
        job.log.warning("masked as a whole: %.1f %% without data", 100 * result.ratio)
    elif metrics["masked_fraction"] == 1:
        job.log.warning("no pixel is left unmasked")
    return metrics
