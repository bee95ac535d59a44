"""Lists of the exposures of which stacks were made, from the HISTORY cards of the stacks.

Algorithm
---------
The HISTORY cards of the first header are split at single blanks. Word COLNUM, without EXP_PREFIX
and without its last extension, is the name of an exposure; each is taken once, in the order of
the cards.

References
----------
Gwyn 2008, PASP 120, 212 (MegaPipe, whose stacks name their exposures in this way).
"""

import re

from pydantic import field_validator

from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import fits, retrieval, sightings


class FindExposuresOptions(Options):
    """Where the cards name the exposure."""

    colnum: int = option(
        3, at_least=0,
        doc="Word of a HISTORY card that names the exposure, counted from 0 when the card is split "
        "at single blanks: 3 for ` input image 2366993p.fits 40 extension(s)`.",
    )  # fmt: skip
    exp_prefix: str = option("", doc="Beginning of that word that does not belong to the name.")
    exp_pattern: str = option(
        "",
        doc="How the cards name an exposure: a regular expression with the name in a group, as in "
        "sextractor_runner; it takes the place of COLNUM and EXP_PREFIX.",
    )

    @field_validator("exp_pattern")
    @classmethod
    def _expression(cls, pattern):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern


@runner(
    inputs=[Input("image", doc="Stack, with its header in the first HDU.")],
    outputs=[Output("exposures", "exp_numbers", ext=".txt", doc="One exposure a line.")],
    after=["get_images_runner"],
)
def find_exposures_runner(job, opts: FindExposuresOptions):
    """Write the exposures of a stack, each once."""
    path = job.inputs["image"]
    header = fits.read_header(path, 0)
    if opts.exp_pattern:
        names = sightings.exposure_names(header, opts.exp_pattern)
    else:
        names = retrieval.exposures_of(header, opts.colnum, opts.exp_prefix)
    if not names:
        there = list(header["HISTORY"])[:2] if "HISTORY" in header else "none"
        wanted = f"fits {opts.exp_pattern}" if opts.exp_pattern else f"has a word {opts.colnum}"
        raise BadInput(path, f"no HISTORY card {wanted} (cards: {there})",
                       "cards such as ' input image 2366993p.fits 40 extension(s)'")  # fmt: skip
    n_cards = len(header["HISTORY"])
    job.log.info("%d exposures in %d HISTORY cards: %s", len(names), n_cards, ", ".join(names))
    text = "".join(f"{name}\n" for name in names)
    job.output("exposures").write_text(text, encoding="ascii")
    return {"n_exposures": len(names), "n_history_cards": n_cards}
