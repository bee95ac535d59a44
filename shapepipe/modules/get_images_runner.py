"""Images of a list of IDs: linked or copied from directories, or downloaded from VOSpace.

Algorithm
---------
For each ID and each kind of image the dummy number in INPUT_FILE_PATTERN is replaced by the ID.
The file is linked, copied or downloaded under a name of its own, up to N_TRY times; it counts
when all its HDUs are there, and gets its final name then. In this name letters and points of the
ID are gone.

References
----------
VOSpace specification 2.1, IVOA Recommendation 2018 (`vos:` addresses).
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from shapepipe import (
    BadInput,
    Folder,
    Input,
    Options,
    Output,
    Program,
    ProgramFailed,
    option,
    runner,
)
from shapepipe.astro import retrieval


class GetImagesOptions(Options):
    """What to fetch, from where, and how to call it."""

    retrieve: Literal["symlink", "copy", "vos"] = option(
        aliases=("COPY",),
        doc="symlink: link to files below INPUT_PATH; copy: copy them; vos: download them with the "
        "program vcp of the package vos.",
    )
    retrieve_options: str = option(
        "", aliases=("COPY_OPTIONS",), doc="More words for vcp, such as --quick."
    )
    n_try: int = option(3, at_least=1, doc="Attempts to download a file.")
    input_path: list[str] = option(
        doc="For each kind of image, the directory, or the VOSpace address such as vos:cfis/tiles."
    )
    input_file_pattern: list[str] = option(
        doc="For each kind, the name with a dummy number, such as CFIS.000.000.r."
    )
    input_file_ext: list[str] = option(doc="For each kind, the extension, such as .fits.fz.")
    input_numbering: str = option(
        doc="Regular expression that finds the dummy number, such as \\d{3}\\.\\d{3}."
    )
    output_file_pattern: list[str] = option(
        doc="For each kind, the name before the number, such as CFIS_image-; * keeps the name."
    )
    output_path: Folder | None = option(
        None,
        doc="Directory in which files are kept, with links to them in the run. What is there whole "
        "is not fetched again.",
    )
    check_existing_dir: Folder | None = option(
        None, doc="Link to files below this directory, if they are there, instead of fetching them."
    )
    n_expected: int = option(
        1, at_least=1, doc="Number of files below CHECK_EXISTING_DIR that must match."
    )
    allow_missing: bool = option(
        False, doc="Go on with what there is if some images cannot be had; they are then named."
    )

    @field_validator("input_numbering")
    @classmethod
    def _expression(cls, pattern):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    @field_validator("input_path")
    @classmethod
    def _expand(cls, paths):
        return [os.path.expanduser(os.path.expandvars(path)) for path in paths]

    @model_validator(mode="after")
    def _one_for_each_kind(self):
        lists = ("input_path", "input_file_pattern", "input_file_ext", "output_file_pattern")
        lengths = [len(getattr(self, name)) for name in lists]
        if len(set(lengths)) != 1 or not lengths[0]:
            shown = ", ".join(f"{n.upper()} {k}" for n, k in zip(lists, lengths, strict=True))
            raise ValueError(f"one value for each kind of image is needed; there are {shown}")
        for pattern in self.input_file_pattern:
            retrieval.archive_name(pattern, self.input_numbering, "", "0")
        return self


@dataclass(frozen=True)
class Image:
    """One file to fetch: where it is, its name there, and its name here."""

    place: str
    name: str
    product: str


@runner(
    inputs=[Input("ids", "tile_numbers", ext=".txt", doc="Image IDs, one a line.")],
    outputs=[Output("images", many=True, doc="The images, or links to them.")],
    scope="all",
    numbering="",
    programs=[Program("vcp", when=lambda o: o.retrieve == "vos")],
    aliases=("get_image_runner",),
)
def get_images_runner(job, opts: GetImagesOptions):
    """Fetch every kind of image for every ID; nothing that is not whole is left behind."""
    ids = retrieval.read_ids(path for _, path in sorted(job.inputs["ids"].items()))
    if not ids:
        raise BadInput(next(iter(job.inputs["ids"].values())), "holds no image ID")
    wanted = [image for image_id in ids for image in _images(opts, image_id)]
    missing = []
    for image in wanted:
        try:
            _get(job, opts, image)
        except (BadInput, ProgramFailed, OSError) as error:
            job.log.error("%s: %s", image.name, error)
            missing.append(image.name)
    n_found = len(wanted) - len(missing)
    if missing and not (opts.allow_missing and n_found):
        raise BadInput(opts.input_path[0], f"{len(missing)} of {len(wanted)} images cannot be had: "
                       f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}",
                       "all of them, or ALLOW_MISSING = True")  # fmt: skip
    return {"n_ids": len(ids), "n_images": n_found, "n_missing": len(missing),
            "missing": " ".join(missing)}  # fmt: skip


def _images(opts, image_id):
    lists = (opts.input_path, opts.input_file_pattern, opts.input_file_ext,
             opts.output_file_pattern)  # fmt: skip
    for place, template, ext, pattern in zip(*lists, strict=True):
        name = retrieval.archive_name(template, opts.input_numbering, ext, image_id)
        keep = pattern == retrieval.KEEP_NAME
        yield Image(place, name, name if keep else retrieval.pipeline_name(pattern, image_id, ext))


def _get(job, opts, image):
    """Put one image, or a link to it, at the place of its product."""
    product = job.output("images", name=image.product)
    existing = _existing(opts, image)
    if existing:
        product.symlink_to(existing)
    elif opts.output_path:
        kept = opts.output_path / image.product
        if not _is_whole(kept):
            opts.output_path.mkdir(parents=True, exist_ok=True)
            part = opts.output_path / f".{os.getpid()}.{image.product}"
            _fetch(job, opts, image, part)
            part.replace(kept)
        product.symlink_to(kept)
    else:
        _fetch(job, opts, image, product)


def _existing(opts, image):
    """File of this name below CHECK_EXISTING_DIR, when there are as many as expected."""
    if not opts.check_existing_dir:
        return None
    found = sorted(path for path in opts.check_existing_dir.rglob("*")
                   if fnmatch(path.name, image.name) and path.is_file())  # fmt: skip
    return found[0].absolute() if len(found) == opts.n_expected else None


def _source(image):
    """The file at the archive, when that is a directory; wildcards of the name are resolved."""
    folder = Path(image.place)
    if not folder.is_dir():
        raise BadInput(folder, "is not a directory")
    found = sorted(folder.glob(image.name))
    if len(found) != 1:
        raise BadInput(folder, f"{len(found)} files match {image.name}", "one")
    if not found[0].is_file():
        raise BadInput(found[0], "is no file, or a link to nothing")
    return found[0].absolute()


def _fetch(job, opts, image, target: Path):
    """Link, copy or download one file, and see that it is whole."""
    if opts.retrieve == "symlink":
        target.symlink_to(_source(image))
        return
    if opts.retrieve == "copy":
        attempt, count = (lambda: shutil.copyfile(_source(image), target)), 1
    else:
        words = [*opts.retrieve_options.split(), f"{image.place.rstrip('/')}/{image.name}", target]
        attempt, count = (lambda: job.call("vcp", words)), opts.n_try
    _try_often(job, attempt, count, target)


def _try_often(job, attempt: Callable, count: int, target: Path):
    for number in range(1, count + 1):
        try:
            attempt()
            retrieval.check_whole(target)
            return
        except (BadInput, ProgramFailed) as error:
            target.unlink(missing_ok=True)
            if number == count:
                raise
            job.log.warning("attempt %d of %d failed: %s", number, count, error)


def _is_whole(path):
    try:
        retrieval.check_whole(path)
    except BadInput:
        return False
    return True
