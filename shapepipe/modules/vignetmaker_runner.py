"""Stamps of images at the objects of a catalogue: of the image itself, or of all its exposures.

Algorithm
---------
The middle of a stamp is the pixel in which the position falls; pixels are copied, never
resampled. Beyond the image there are zeros, in flags 1024. For several epochs positions are
brought to each CCD by its WCS, and every CCD is read once.

References
----------
Guinot et al. 2022, A&A 666, A162 (stamps of all epochs of an object).
"""

import tempfile
from contextlib import ExitStack
from typing import Literal

import numpy as np
from astropy.table import Table
from pydantic import field_validator, model_validator

from shapepipe import Address, BadInput, Input, Options, Output, ProductFile, option, runner
from shapepipe.astro import epochs, fits, ldac, moments, stamps, stampstore, wcs

MOST_IMAGES = 6
DEFAULT_COLUMNS = {"PIX": ["XWIN_IMAGE", "YWIN_IMAGE"], "SPHE": ["XWIN_WORLD", "YWIN_WORLD"]}


class VignetMakerOptions(Options):
    """What to cut, how large, and where."""

    masking: bool = option(
        False, doc="Cut nothing; copy the catalogue, masked pixels of VIGNET set to MASK_VALUE."
    )
    mask_value: float = option(0.0, doc="Value of masked pixels with MASKING = True.")
    mode: Literal["CLASSIC", "MULTI-EPOCH"] = option(
        "CLASSIC",
        doc="CLASSIC: stamps of the images that are inputs. MULTI-EPOCH: stamps of the CCDs of all "
        "exposures that see the objects of a stack.",
    )
    stamp_size: int = option(51, at_least=1, unit="pixel", doc="Side of a stamp; an odd number.")
    coord: Literal["PIX", "SPHE"] | None = option(
        None,
        doc="POSITION_PARAMS are pixels (PIX) or degrees (SPHE); blank: PIX if CLASSIC, else SPHE.",
    )
    position_params: list[str] = option(
        [], doc="Two columns with the position; blank: XWIN_IMAGE, YWIN_IMAGE or XWIN_WORLD, "
        "YWIN_WORLD.",
    )  # fmt: skip
    prefix: list[str] = option(
        ["weight"], aliases=("SUFFIX",),
        doc="CLASSIC: names of the products before _vignet, one for each input image.",
    )  # fmt: skip
    me_image_dir: Address | None = option(
        None,
        doc="MULTI-EPOCH: where the images of the CCDs are; if one for each kind, its own first.",
    )
    me_image_pattern: list[str] = option(
        ["flag", "image", "weight", "sexcat_background"],
        doc="MULTI-EPOCH: kinds of images, by their names before -exposure-ccd.fits; a name with "
        "`flag` gets 1024 for pixels outside the CCD, others 0.",
    )
    me_log_wcs: ProductFile | None = option(
        None, doc="MULTI-EPOCH: table of merge_headers_runner with the WCS of the exposures."
    )

    @field_validator("position_params")
    @classmethod
    def _two_or_none(cls, names):
        names = [name for name in names if name]
        if len(names) not in (0, 2):
            raise ValueError(f"{len(names)} columns given, two are needed: x, y")
        return names

    @field_validator("stamp_size")
    @classmethod
    def _odd(cls, size):
        if size % 2 == 0:
            raise ValueError(f"{size} is even; a stamp has a middle pixel (allowed: odd numbers)")
        return size

    @model_validator(mode="after")
    def _consistent(self):
        if self.cuts_epochs and not (self.me_image_dir and self.me_log_wcs):
            raise ValueError("MODE = MULTI-EPOCH needs ME_IMAGE_DIR and ME_LOG_WCS")
        if self.cuts_epochs and self.coord == "PIX":
            raise ValueError("MODE = MULTI-EPOCH needs positions on the sky: COORD = SPHE")
        if self.cuts_image and not 1 <= len(self.prefix) <= MOST_IMAGES:
            raise ValueError(f"PREFIX has {len(self.prefix)} names (allowed: 1 to {MOST_IMAGES})")
        return self

    @property
    def cuts_image(self):
        """Stamps of the input images."""
        return self.mode == "CLASSIC" and not self.masking

    @property
    def cuts_epochs(self):
        """Stamps of the CCDs of exposures."""
        return self.mode == "MULTI-EPOCH" and not self.masking

    @property
    def columns(self):
        """Names of the position columns."""
        return self.position_params or DEFAULT_COLUMNS[self.coordinates]

    @property
    def coordinates(self):
        """PIX or SPHE."""
        return self.coord or ("SPHE" if self.cuts_epochs else "PIX")


def _from_image(place):
    return lambda opts: opts.cuts_image and len(opts.prefix) > place


@runner(
    inputs=[
        Input("catalogue", "sexcat", doc="Catalogue with positions (MULTI-EPOCH: EPOCH tables)."),
        Input("image_1", "weight", when=_from_image(0), doc="Image to cut stamps from."),
        *(Input(f"image_{i + 1}", when=_from_image(i), doc="Further image of the same pixels.")
          for i in range(1, MOST_IMAGES)),
    ],
    outputs=[
        Output("masked", "cat_vignet", when=lambda o: o.masking, doc="The catalogue, rewritten."),
        Output("stamps", lambda o: [f"{name}_vignet" for name in o.prefix],
               when=lambda o: o.cuts_image, doc="LDAC table with the column VIGNET."),
        Output("epochs", lambda o: [f"{name}_vignet" for name in o.me_image_pattern],
               ext=".sqlite", when=lambda o: o.cuts_epochs,
               doc="sqlitedict: NUMBER -> {exposure-ccd: {VIGNET}}."),
    ],
    after=["sextractor_runner"],
    aliases=("vignetmaker_runner2",),
)  # fmt: skip
def vignetmaker_runner(job, opts: VignetMakerOptions):
    """Cut exact copies of the pixels around each object."""
    if opts.masking:
        return _mask(job, opts)
    return _classic(job, opts) if opts.cuts_image else _multi_epoch(job, opts)


def _mask(job, opts):
    path = job.inputs["catalogue"]
    table = ldac.read(path)
    ldac.check_columns(path, table.colnames, ["VIGNET"])
    masked = moments.masked_pixels(table["VIGNET"])
    table["VIGNET"][masked] = opts.mask_value
    ldac.write(job.output("masked"), table, header_of=path)
    return {"n_objects": len(table), "n_masked_pixels": int(masked.sum())}


def _classic(job, opts):
    path = job.inputs["catalogue"]
    table = ldac.read(path, columns=opts.columns)
    first, second = (np.asarray(table[name], float) for name in opts.columns)
    images = [job.inputs[f"image_{i + 1}"] for i in range(len(opts.prefix))]
    for name, image in zip(opts.prefix, images, strict=True):
        pixels, header = fits.read(image)
        x, y = first - 1, second - 1
        if opts.coordinates == "SPHE":
            x, y = wcs.world_to_pixel(wcs.from_header(header, image), first, second)
        lost = ~(np.isfinite(x) & np.isfinite(y))
        x, y = (np.where(lost, -2.0 * opts.stamp_size, place) for place in (x, y))
        fill = stamps.filling(name)
        cut = stamps.cut(stamps.flag_type(pixels) if fill else pixels, x, y, opts.stamp_size, fill)
        product = job.output("stamps", pattern=f"{name}_vignet")
        ldac.write(product, Table({"VIGNET": cut}, copy=False), header_of=path)
    return {"n_objects": len(table), "n_stamps": len(table) * len(images)}


def _multi_epoch(job, opts):
    """Cut the stamps of each kind of image; what has no image is logged and counted."""
    path = job.inputs["catalogue"]
    table = ldac.read(path, columns=["NUMBER", *opts.columns])
    numbers, ra, dec = (np.asarray(table[name]) for name in table.colnames)
    views = epochs.read_views(path, numbers)
    solutions = epochs.read_wcs(opts.me_log_wcs, (exposure for exposure, _ in views.names))
    x, y = epochs.places(views, ra, dec, solutions)
    lost = int((~(np.isfinite(x) & np.isfinite(y))).sum())
    if lost:
        job.log.warning("%d epochs have no WCS in %s", lost, opts.me_log_wcs)
    metrics = {"n_objects": len(numbers), "n_views": len(views.row), "n_without_wcs": lost,
               "n_stamps": 0, "n_ccds_missing": 0}  # fmt: skip
    for place, pattern in enumerate(opts.me_image_pattern):
        files = epochs.find_files(_folders(opts, place), pattern, ".fits")
        absent, count = _cut_kind(job, opts, pattern, views, (x, y), numbers, files)
        for label in absent:
            job.log.warning("objects lose an epoch: there is no %s-%s.fits", pattern, label)
        metrics["n_stamps"] += count
        metrics["n_ccds_missing"] += len(absent)
    return metrics


def _cut_kind(job, opts, pattern, views, pixels, numbers, files):
    """Cut and store one kind of image; gives the CCDs without image, and the number of stamps."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryFile(dir=job.scratch))
        shelf = stamps.Shelf(scratch, views, opts.stamp_size)
        absent = stamps.fill_shelf(
            shelf, views, *pixels, opts.stamp_size, pattern, lambda *ccd: _read(files.get(ccd))
        )
        store = stack.enter_context(
            stampstore.StampWriter(job.output("epochs", pattern=f"{pattern}_vignet"))
        )
        count = 0
        for chunk in shelf.entries(numbers):
            store.add(chunk)
            count += sum(len(entry) for _, entry in chunk)
    return absent, count


def _read(path):
    """Pixels of a CCD, or None where there is no file."""
    if path is None:
        return None
    image = fits.read_image(path, finite=False)
    if image.ndim != 2:
        raise BadInput(path, f"has {image.ndim} axes", "an image with two")
    return image


def _folders(opts, place):
    """Directories to search: the kind's own first, where there is one for each."""
    folders = list(opts.me_image_dir)
    if len(folders) == len(opts.me_image_pattern):
        folders.insert(0, folders.pop(place))
    return folders
