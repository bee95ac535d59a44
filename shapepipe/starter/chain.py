"""The INI file of a proposal: which runners, on which files, with which options, and why."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from shapepipe.starter.proposal import Proposal


def links_folder(proposal: Proposal) -> str:
    """Folder for links with names that ShapePipe can take apart, where the own names cannot be."""
    return "input_tiles" if proposal.images.exposures else "input"


def ini_text(proposal: Proposal, folder: Path, name: str) -> str:
    """Write the INI file.

    Parameters
    ----------
    proposal : Proposal
        What to do.
    folder : Path
        Where the INI file will be.
    name : str
        Its name.
    """
    sections = [
        comment(_opening(proposal, name)),
        section("DEFAULT", [("RUN_NAME", "run", "")]),
        section("EXECUTION", [("MODULE", _chain(proposal), _chain_reason(proposal))]),
        section("FILE", file_options(proposal, folder)),
        section("JOB", [("SMP_BATCH_SIZE", jobs(), "jobs at a time: one for each core")]),
        *preparation_sections(proposal),
        section("MASK_RUNNER", mask_options(proposal, folder)),
        section("SEXTRACTOR_RUNNER", sextractor_options(proposal, folder)),
    ]
    if proposal.psf.value:
        sections += _psf_sections(proposal, folder)
    return "\n\n".join(sections) + "\n"


def section(name: str, options: list[tuple[str, object, str]]) -> str:
    """One section; each option has its reason in front."""
    lines = [f"[{name}]"]
    for key, value, why in options:
        if why:
            lines.append(comment([why]))
        lines.append(f"{key} = {value}".rstrip())
    return "\n".join(lines)


def comment(paragraphs: list[str]) -> str:
    """Paragraphs as comments."""
    return "\n#\n".join(
        textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
                      break_on_hyphens=False)
        for text in paragraphs
    )  # fmt: skip


def _opening(proposal: Proposal, name: str) -> list[str]:
    survey = proposal.survey
    lines = [
        f"Made by `shapepipe init {survey.folder}`. Each guess has its reason; mend what is wrong.",
        f"Run it: shapepipe_run -c {name}",
        f"Images: {proposal.images.title}.",
    ]
    best = "merge_starcat_runner/output/full_starcat.fits has the stars, and the PSF beside each"
    catalogues = "sextractor_runner/output has the catalogues"
    lines.append(f"In the directory of the run, {best if proposal.psf.value else catalogues}.")
    lines += [f"NOTE {note}" for note in proposal.notes]
    used = (proposal.images, proposal.stacks)
    others = [other.title for other in survey.sets if other not in used]
    if proposal.stacks:
        lines.append(f"Their stacks have an INI file of their own: {Path(name).stem}_tile.ini.")
    if others:
        lines.append(f"Other images there, not used: {'; '.join(others)}.")
    if survey.others:
        lines.append(f"Other files there, not used: {'; '.join(survey.others[:12])}.")
    return lines


def preparation_runners(proposal: Proposal) -> list[str]:
    """Runners that make plain single images of the files."""
    if proposal.n_hdu:
        merge = ["merge_headers_runner"] if proposal.has_sky else []
        return ["split_exp_runner", *merge]
    return ["uncompress_fits_runner"] * len(proposal.preparation)


def _chain(proposal: Proposal) -> str:
    chain = [*preparation_runners(proposal), "mask_runner", "sextractor_runner"]
    if proposal.psf.value:
        chain += ["setools_runner", "psfex_runner", "psf_interp_runner", "merge_starcat_runner"]
        chain += ["mean_shapes_runner"] if proposal.n_hdu else []
    return ",\n         ".join(chain)


def _chain_reason(proposal: Proposal) -> str:
    parts = []
    if proposal.n_hdu:
        parts.append(f"each file holds {proposal.n_hdu} CCDs, which are split")
    elif proposal.preparation:
        parts.append("SExtractor reads plain files with the image in the first HDU")
    parts.append("mask what must not be measured, then detect sources")
    if proposal.psf.value:
        parts.append(f"choose stars, model the PSF and compare it with them ({proposal.psf.why})")
    else:
        parts.append(f"no PSF model: {proposal.psf.why}")
    return "; ".join(parts) + "."


def file_options(proposal: Proposal, folder: Path) -> list[tuple[str, object, str]]:
    """Where the files are, and the form of their numbers."""
    units = proposal.images.units
    if units.as_they_are:
        where = os.path.commonpath(
            [str(path.parent) for found in units.files.values() for path in found.values()]
        )
        why = "the files are taken where they are"
    else:
        where = folder / links_folder(proposal)
        why = (
            "links to the images: a name must be pattern + number + extension, and theirs, such as "
            f"{proposal.images.names[0].path.name}, are not"
        )
    scheme = units.scheme + (_ccd_scheme(units.scheme) if proposal.n_hdu else "")
    return [
        ("INPUT_DIR", where, why),
        ("OUTPUT_DIR", folder / "output", ""),
        ("NUMBERING_SCHEME", scheme, _scheme_reason(proposal)),
    ]


def _ccd_scheme(scheme: str) -> str:
    return r"-\d+" if scheme.startswith("RE:") else "-0"


def _scheme_reason(proposal: Proposal) -> str:
    numbers = list(proposal.images.units.files)
    if numbers == [""]:
        return "one image: its name needs no number" + (
            "; the CCDs have one" if proposal.n_hdu else ""
        )
    ccd = ", then the CCD" if proposal.n_hdu else ""
    return f"form of the numbers in file names, such as {numbers[0]}{ccd}"


def jobs() -> int:
    """Jobs at a time."""
    return max(1, os.cpu_count() or 1)


def _patterns(proposal: Proposal, roles: list[str]) -> list[tuple[str, object, str]]:
    units = proposal.images.units
    return [
        (
            "FILE_PATTERN",
            ", ".join(units.pattern[role] for role in roles),
            "text before the number",
        ),
        ("FILE_EXT", ", ".join(units.ext[role] for role in roles), ""),
    ]


def preparation_sections(proposal: Proposal) -> list[str]:
    """Sections of the runners that make plain single images."""
    scheme = ("NUMBERING_SCHEME", proposal.images.units.scheme, "")
    if proposal.n_hdu:
        roles = proposal.images.units.roles
        names = [proposal.image_name if role == "image" else role for role in roles]
        options = [
            scheme, *_patterns(proposal, roles),
            ("OUTPUT_SUFFIX", ", ".join(names), "what the CCD images are called"),
            ("N_HDU", proposal.n_hdu, "number of image HDUs of the first file"),
        ]  # fmt: skip
        if proposal.hdu_names:
            options.append(("HDU_NAMES", ", ".join(proposal.hdu_names), "not simply HDU 1, 2, ..."))
        sections = [section("SPLIT_EXP_RUNNER", options)]
        if proposal.has_sky:
            sections.append(section("MERGE_HEADERS_RUNNER", [scheme]))
        return sections
    return [_uncompress_section(proposal, k) for k in range(len(proposal.preparation))]


def _uncompress_section(proposal: Proposal, k: int) -> str:
    units, (hdu, roles) = proposal.images.units, list(proposal.preparation.items())[k]
    sources = [role if role in units.pattern else "image" for role in roles]
    options = [
        *_patterns(proposal, sources),
        ("HDU_DATA", hdu, f"where the {' and the '.join(roles)} stand{'s' * (len(roles) == 1)}"),
        ("OUTPUT_PATTERN", ", ".join(roles), "what the plain files are called"),
    ]
    several = len(proposal.preparation) > 1
    return section(f"UNCOMPRESS_FITS_RUNNER{f'_RUN_{k + 1}' if several else ''}", options)


def _sources(proposal: Proposal, roles: list[str], *more: str) -> list[tuple[str, object, str]]:
    """Where mask and SExtractor find their inputs, and what those are called."""
    units, steps = proposal.images.units, preparation_runners(proposal)
    prepared = bool(steps)
    names = [proposal.image_name if role == "image" and proposal.n_hdu else role for role in roles]
    patterns = names if prepared else [units.pattern[role] for role in roles]
    exts = [".fits" if prepared else units.ext[role] for role in roles]
    options: list[tuple[str, object, str]] = []
    if prepared:
        calls = [step for step in steps if step != "merge_headers_runner"]
        if len(calls) > 1:
            calls = [f"{step}_run_{k}" for k, step in enumerate(calls, 1)]
        after = ["mask_runner"] if more else []
        options.append(("INPUT_MODULE", ", ".join([*calls, *after]), ""))
    options.append(("FILE_PATTERN", ", ".join([*patterns, *more]), ""))
    if set(exts) != {".fits"}:
        options.append(("FILE_EXT", ", ".join([*exts, *([".fits"] * len(more))]), ""))
    return options


def mask_options(proposal: Proposal, folder: Path) -> list[tuple[str, object, str]]:
    """What the mask is made from."""
    weight, flag = ("weight" in proposal.roles), ("flag" in proposal.roles)
    return [
        *_sources(proposal, proposal.roles),
        ("USE_WEIGHT", weight, "weight images found" if weight else "no weight images found"),
        ("USE_EXT_FLAG", flag, "flag images found" if flag else "no flag images found"),
        ("MASK_CONFIG_PATH", folder / "image.mask", "what to mask; bright stars need a table"),
        ("PREFIX", "pipeline", "products are pipeline_flag<number>.fits"),
    ]


def sextractor_options(proposal: Proposal, folder: Path) -> list[tuple[str, object, str]]:
    """What SExtractor is given."""
    weight = "weight" in proposal.roles
    roles = ["image", "weight"] if weight else ["image"]
    options = [
        *_sources(proposal, roles, "pipeline_flag"),
        ("WEIGHT_IMAGE", weight, ""),
        ("FLAG_IMAGE", True, "the flags of mask_runner"),
        ("DOT_SEX_FILE", folder / "default.sex", ""),
        ("DOT_PARAM_FILE", folder / "default.param", ""),
        ("DOT_CONV_FILE", folder / "default.conv", ""),
    ]
    if proposal.stacks:
        options.append(("CHECKIMAGE", "BACKGROUND", "the stacks' shapes need it"))
    if proposal.zero_point_card:
        options.append(("ZP_FROM_HEADER", True, proposal.zero_point.why))
        options.append(("ZP_KEY", proposal.zero_point_card, ""))
    else:
        options.append(
            ("ZP_FROM_HEADER", False, f"magnitude zero point: {proposal.zero_point.why}")
        )
    return options


def _psf_sections(proposal: Proposal, folder: Path) -> list[str]:
    few = f"about {proposal.seen.n_stars} stars seen in an image"
    return [
        section("SETOOLS_RUNNER", [
            ("SETOOLS_CONFIG_PATH", folder / "star_selection.setools", "how stars are chosen"),
        ]),
        section("PSFEX_RUNNER", [("DOT_PSFEX_FILE", folder / "default.psfex", "")]),
        section("PSF_INTERP_RUNNER", [
            ("MODE", "VALIDATION", "the model at the stars, beside the stars themselves"),
            ("STAR_THRESH", proposal.min_stars, f"fewest stars for a model: {few}"),
            ("CHI2_THRESH", 5 if proposal.images.raw else 2, "largest reduced chi-square"),
        ]),
    ]  # fmt: skip
