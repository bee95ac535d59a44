"""Lists of the exposures of which stacks were made, from the HISTORY cards of the stacks."""

from shapepipe import BadInput, Input, Options, Output, option, runner
from shapepipe.astro import fits, retrieval


class FindExposuresOptions(Options):
    """Where the cards name the exposure."""

    colnum: int = option(
        3, at_least=0,
        doc="Word of a HISTORY card that names the exposure, counted from 0 when the card is split "
        "at single blanks: 3 for ` input image 2366993p.fits 40 extension(s)`.",
    )  # fmt: skip
    exp_prefix: str = option("", doc="Beginning of that word that does not belong to the name.")


@runner(
    inputs=[Input("image", doc="Stack, with its header in the first HDU.")],
    outputs=[Output("exposures", "exp_numbers", ext=".txt", doc="One exposure a line.")],
    after=["get_images_runner"],
)
def find_exposures_runner(job, opts: FindExposuresOptions):
    """Write the exposures of a stack, each once."""
    path = job.inputs["image"]
    header = fits.read_header(path, 0)
    names = retrieval.exposures_of(header, opts.colnum, opts.exp_prefix)
    if not names:
        there = list(header["HISTORY"])[:2] if "HISTORY" in header else "none"
        raise BadInput(path, f"no HISTORY card has a word {opts.colnum} (cards: {there})",
                       "cards such as ' input image 2366993p.fits 40 extension(s)'")  # fmt: skip
    n_cards = len(header["HISTORY"])
    job.log.info("%d exposures in %d HISTORY cards: %s", len(names), n_cards, ", ".join(names))
    text = "".join(f"{name}\n" for name in names)
    job.output("exposures").write_text(text, encoding="ascii")
    return {"n_exposures": len(names), "n_history_cards": n_cards}
