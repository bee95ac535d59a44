"""Images out of compressed or multi-extension files: one HDU each, plain, in the primary HDU.

Algorithm
---------
The pixels of one HDU are unpacked and written with its cards, but for those of the compression.

References
----------
Pence, Seaman & White 2009, PASP 121, 414, and Pence, White & Seaman 2010, PASP 122, 1065
(compression by tiles).
"""

from pydantic import field_validator

from shapepipe import Input, Options, Output, option, runner
from shapepipe.astro import fits

MOST_INPUTS = 4


class UncompressFitsOptions(Options):
    """Which HDU to take, and how to name what comes out."""

    hdu_data: int = option(0, at_least=0, doc="HDU that holds the image; 1 for files of fpack.")
    output_pattern: list[str] = option(
        doc="Names of the products before the number, one for each input."
    )

    @field_validator("output_pattern")
    @classmethod
    def _count(cls, names):
        if not 1 <= len(names) <= MOST_INPUTS:
            raise ValueError(f"{len(names)} names (allowed: 1 to {MOST_INPUTS})")
        return names


def _given(place):
    return lambda opts: len(opts.output_pattern) > place


@runner(
    inputs=[
        Input("file_1", "image", ext=".fitsfz", doc="File with the image: plain, gzip or fpack."),
        *(Input(f"file_{i + 1}", "weight", ext=".fitsfz", when=_given(i), doc="Further file.")
          for i in range(1, MOST_INPUTS)),
    ],
    outputs=[Output("image", lambda o: o.output_pattern, doc="Image in the primary HDU.")],
    after=["get_images_runner"],
    aliases=("uncompress_fits_image_runner", "uncompress_fits_images_runner"),
)  # fmt: skip
def uncompress_fits_runner(job, opts: UncompressFitsOptions):
    """Copy pixels and header of one HDU of each file."""
    size = 0
    for name, path in zip(opts.output_pattern, job.inputs.values(), strict=True):
        data, header = fits.read(path, opts.hdu_data, finite=False)
        fits.write_image(job.output("image", pattern=name), data, header)
        size += data.nbytes
    return {"n_images": len(opts.output_pattern), "n_bytes": size}
