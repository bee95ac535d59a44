"""The INI file for stacks (tiles), which goes with that for the exposures behind them.

What is proposed for the exposures stands in `proposal`, how it is written in `chain`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shapepipe.starter import chain
from shapepipe.starter.proposal import Choice, Proposal, preparation

RUN_NAME = "tile"
DEEP = {
    "DETECT_MINAREA": (10, "connected pixels above threshold"),
    "DETECT_THRESH": (1.5, "faint objects are wanted"),
    "ANALYSIS_THRESH": (1.5, "the same"),
    "DEBLEND_MINCONT": (0.0005, "and their neighbours told apart"),
}
"""What default_tile.sex has otherwise."""
HEADERS = "last:merge_headers_runner"
SPLIT = "last:split_exp_runner"


def for_stacks(proposal: Proposal) -> Proposal:
    """What a proposal for exposures means for their stacks."""
    stacks = proposal.stacks
    assert stacks is not None
    cards = stacks.layer.cards
    zero, saturation = cards.get("zero_point"), cards.get("saturation")
    return replace(
        proposal,
        images=stacks,
        n_hdu=0,
        hdu_names=[],
        preparation=preparation(stacks),
        gain=Choice(cards["gain"][0], f"header card {cards['gain'][0]}") if "gain" in cards
        else proposal.gain,
        saturation=Choice(saturation[1], f"header card {saturation[0]}") if saturation
        else proposal.saturation,
        saturation_card=saturation[0] if saturation else "",
        zero_point=Choice(zero[1], f"header card {zero[0]}") if zero
        else Choice(30.0, "no card tells; that to which FSCALE brings the exposures"),
        zero_point_card=zero[0] if zero else "",
        scale=Choice(stacks.layer.scale, "from the sky coordinates of the header"),
        stacks=None,
        notes=[],
    )  # fmt: skip


def tile_text(proposal: Proposal, folder: Path, names: tuple[str, str], side: int) -> str:
    """Write the INI file for the stacks.

    Parameters
    ----------
    proposal : Proposal
        That for the exposures.
    folder : Path
        Where the INI file will be.
    names : tuple of str
        Names of the INI file for the exposures and of this one.
    side : int
        Side of stamps, in pixels.
    """
    tile = for_stacks(proposal)
    opening = [
        f"Stacks: {tile.images.title}.",
        f"Run it after the exposures: shapepipe_run -c {names[0]}; shapepipe_run -c {names[1]}",
        "Addresses such as last:psfex_runner lead to the products of the exposures.",
    ]
    steps = [
        *chain.preparation_runners(tile), "mask_runner", "sextractor_runner", "psf_interp_runner",
        "vignetmaker_runner", "vignetmaker_runner", "spread_model_runner", "ngmix_runner",
        "make_cat_runner",
    ]  # fmt: skip
    sections = [
        ("DEFAULT", [("RUN_NAME", RUN_NAME, "")]),
        ("EXECUTION", [("MODULE", ",\n         ".join(steps), "")]),
        ("FILE", chain.file_options(tile, folder)),
        ("JOB", [("SMP_BATCH_SIZE", chain.jobs(), "jobs at a time: one for each core")]),
    ]
    later = [
        ("MASK_RUNNER", chain.mask_options(tile, folder)),
        ("SEXTRACTOR_RUNNER", _sextractor(proposal, tile, folder)),
        *_psf_and_stamps(proposal, tile, folder, ("STAMP_SIZE", side, "as in default.param")),
        *_shapes(),
    ]
    return "\n\n".join([
        chain.comment(opening),
        *(chain.section(title, options) for title, options in sections),
        *chain.preparation_sections(tile),
        *(chain.section(title, options) for title, options in later),
    ]) + "\n"  # fmt: skip


def _sextractor(proposal, tile, folder):
    nx, ny = proposal.images.layer.size
    return [
        *(option for option in chain.sextractor_options(tile, folder)
          if option[0] != "DOT_SEX_FILE"),
        ("DOT_SEX_FILE", folder / "default_tile.sex", ""),
        ("MAKE_POST_PROCESS", True, "find the CCDs that see each object"),
        ("LOG_WCS", HEADERS, ""),
        ("CCD_SIZE", f"0, {nx - 1}, 0, {ny - 1}", "all pixels of a CCD; leave out overscan"),
    ]  # fmt: skip


def _psf_and_stamps(proposal, tile, folder, size):
    """Sections of the steps that bring the exposures to the objects."""
    prepared = bool(tile.preparation)
    weight = "weight" if prepared else tile.images.units.pattern["weight"]
    ext = ".fits" if prepared else tile.images.units.ext["weight"]
    source = [("INPUT_MODULE", "sextractor_runner", "")]
    of_weight = [("ADD_INPUT_DIR", dict(o[:2] for o in chain.file_options(tile, folder))
                  ["INPUT_DIR"], "")]  # fmt: skip
    if prepared:
        several = len(tile.preparation) > 1
        calls = [k for k, roles in enumerate(tile.preparation.values(), 1) if "weight" in roles]
        name = f"uncompress_fits_runner{f'_run_{calls[0]}' if several else ''}"
        of_weight = [("INPUT_MODULE", f"sextractor_runner, {name}", "")]
    return [
        ("PSF_INTERP_RUNNER", [
            *source, ("MODE", "MULTI-EPOCH", "the PSF of every exposure"),
            ("STAR_THRESH", proposal.min_stars, "as for the exposures"),
            ("CHI2_THRESH", 2, ""), ("ME_DOT_PSF_DIR", "last:psfex_runner", ""),
            ("ME_LOG_WCS", HEADERS, ""),
        ]),
        ("VIGNETMAKER_RUNNER_RUN_1", [
            *(of_weight if prepared else [*source, *of_weight]),
            ("FILE_PATTERN", f"sexcat, {weight}", "stamps of the stack's weight"),
            ("FILE_EXT", f".fits, {ext}", ""), ("MODE", "CLASSIC", ""), size,
            ("PREFIX", "weight", ""),
        ]),
        ("VIGNETMAKER_RUNNER_RUN_2", [
            *source, ("MODE", "MULTI-EPOCH", "stamps of all exposures"), size,
            ("ME_IMAGE_DIR", f"{SPLIT}, {SPLIT}, {SPLIT}, run:sextractor_runner", ""),
            ("ME_IMAGE_PATTERN", "flag, image, weight, background", ""),
            ("ME_LOG_WCS", HEADERS, ""),
        ]),
    ]  # fmt: skip


def _shapes():
    """Sections of the last steps."""
    stamps = "vignetmaker_runner_run_2"
    catalogues = "sextractor_runner, psf_interp_runner"
    return [
        ("SPREAD_MODEL_RUNNER", [
            ("INPUT_MODULE", f"{catalogues}, vignetmaker_runner_run_1, {stamps}", ""),
            ("EPOCH_WEIGHTS", True, "the PSF of the stack: exposures count with their weights"),
            ("LOG_WCS", HEADERS, ""),
        ]),
        ("NGMIX_RUNNER", [
            ("INPUT_MODULE", f"{catalogues}, {stamps}", ""),
            ("FILE_PATTERN", "sexcat, image_vignet, background_vignet, galaxy_psf, weight_vignet, "
             "flag_vignet", ""),
            ("FILE_EXT", ".fits, .sqlite, .sqlite, .sqlite, .sqlite, .sqlite", ""),
            ("LOG_WCS", HEADERS, ""),
            ("MAG_ZP", 30, "of counts times FSCALE, a card of each CCD"),
        ]),
        ("MAKE_CAT_RUNNER", [
            ("SM_DO_CLASSIFICATION", True, "stars and galaxies, by the spread model"),
            ("SAVE_PSF_DATA", True, ""),
        ]),
    ]  # fmt: skip
