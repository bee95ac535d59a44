"""Sphinx extension: writes the reference of runners, options and columns from their declarations.

One page for each runner, one for the sections of the framework and one for columns and flags are
written to ``reference/generated`` before the build starts, and not kept under version control.
"""

from __future__ import annotations

import re
from pathlib import Path

from shapepipe.astro.flags import MaskBit
from shapepipe.astro.moments import MomentFlag
from shapepipe.astro.psftables import DESCRIPTIONS
from shapepipe.astro.starmerge import LABELS, MOMENT_DESCRIPTIONS
from shapepipe.pipeline.options import (
    WIRING,
    Options,
    bounds_text,
    default_text,
    type_text,
)
from shapepipe.pipeline.runner import find_runner, list_runners
from shapepipe.pipeline.sections import SECTIONS
from shapepipe.shear.flags import ShapeFlag


def setup(app):
    """Have the pages written when the build begins."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}


def write_pages(app):
    """Write all pages, leaving alone those that have not changed."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{name}.rst": runner_page(find_runner(name)) for name in in_tree()}
    pages |= {"sections.rst": sections_page(), "columns.rst": columns_page()}
    for path in folder.glob("*.rst"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def in_tree() -> list[str]:
    """Names of the runners that come with the package."""
    return [
        name
        for name in list_runners()
        if find_runner(name).function.__module__.startswith("shapepipe.")
    ]


def sections_page() -> str:
    """Page on the sections of the framework, and on the options that every runner has."""
    parts = [heading("Sections of the framework", "=")]
    parts.append("Every INI file is made of these sections and of one section for each runner.")
    for name, cls in SECTIONS.items():
        parts += [heading(f"[{name}]", "-"), prose(cls.__doc__), options_list(cls.model_fields)]
    parts += [
        heading("In the section of any runner", "-"),
        "Where the inputs are, and what is looked up before the run.",
        options_list(Options.model_fields),
    ]
    return "\n\n".join(parts) + "\n"


def columns_page() -> str:
    """Page on the columns and flags of the tables."""
    parts = [heading("Columns and flags", "=")]
    for title, columns in COLUMNS.items():
        parts.append(heading(title, "-"))
        parts.append(
            definitions(
                (f"``{name}``", escape(text) + (f" [{unit}]" if unit else ""))
                for name, (unit, text) in columns.items()
            )
        )
    for title, flags in FLAGS.items():
        parts.append(heading(title, "-"))
        parts.append(definitions((f"{bit.value}", f"``{bit.name}``") for bit in flags))
    return "\n\n".join(parts) + "\n"


COLUMNS = {
    "Stars and PSF models": DESCRIPTIONS,
    "Added when catalogues are merged": LABELS,
    "Shapes of stars from SExtractor's moments": MOMENT_DESCRIPTIONS,
}
FLAGS = {
    "Bits of mask images": MaskBit,
    "Bits of adaptive moments (FLAG_STAR_HSM, FLAG_PSF_HSM)": MomentFlag,
    "Bits of galaxy shapes": ShapeFlag,
}


def runner_page(runner) -> str:
    """Page on one runner."""
    parts = [heading(runner.name, "="), prose(runner.doc)]
    facts = {
        "INI section": f"``[{runner.name.upper()}]``",
        "Other names": literals(runner.aliases),
        "Takes products of": literals(runner.after),
        "Numbering": f"``{runner.numbering}``" if runner.numbering else "",
        "Jobs": SCOPES[runner.scope],
        "Programs": literals(item.name for item in runner.programs),
        "Packages": literals(runner.packages),
        "Version": runner.version,
    }
    parts.append("\n".join(f":{key}: {value}" for key, value in facts.items() if value))
    parts += [heading("Inputs", "-"), files_list(runner.inputs, input_facts) or "None."]
    parts += [heading("Products", "-"), files_list(runner.outputs, output_facts) or "None."]
    own = {name: field for name, field in runner.options.model_fields.items() if name not in WIRING}
    parts += [heading("Options", "-"), options_list(own) or "None of its own."]
    parts.append("The options that :doc:`every runner <sections>` has are understood as well.")
    if runner.options.retired:
        parts.append(heading("Options of earlier versions", "-"))
        parts.append("Accepted with a warning; they no longer do anything.")
        parts.append(
            definitions((f"``{key}``", escape(why)) for key, why in runner.options.retired.items())
        )
    return "\n\n".join(parts) + "\n"


SCOPES = {
    "each": "one for each number",
    "all": "one for all numbers together",
    "rows": "several for each number, each with a share of the catalogue's rows",
}


def options_list(fields) -> str:
    """Definition list of options: name, type, default, bounds, unit, meaning."""
    return definitions(
        (f"``{name.upper()}``", option_text(field)) for name, field in fields.items()
    )


def option_text(field) -> str:
    """One option in words."""
    extra = field.json_schema_extra or {}
    default = default_text(field)
    facts = [type_text(field), bounds_text(field), extra.get("unit", "")]
    line = ", ".join(escape(fact) for fact in facts if fact)
    line += (
        ", **required**"
        if default is None
        else f", default: ``{default}``"
        if default
        else ", optional"
    )
    older = literals(alias.upper() for alias in extra.get("aliases", ()))
    return f"{escape(field.description or '')}\n({line}" + (
        f"; also spelt {older})" if older else ")"
    )


def files_list(items, facts) -> str:
    """Definition list of the files that go in or come out."""
    return definitions((f"``{item.role}``", facts(item)) for item in items)


def input_facts(item) -> str:
    """One input in words."""
    name = f"``{item.pattern or item.role}<number>{item.ext}``"
    notes = ["all files of the run"] if item.gather else []
    notes += ["only if the options ask for it"] if item.when else []
    return describe(name, item.doc, notes)


def output_facts(item) -> str:
    """One product in words."""
    pattern = "<by the options>" if callable(item.pattern) else item.pattern or item.role
    ext = "" if callable(item.ext) else item.ext
    name = f"``{pattern}<number>{'-<part>' if item.expand else ''}{ext}``"
    notes = ["only if the options ask for it"] if item.when else []
    notes += ["may be missing"] if item.optional else []
    notes += ["names known only to the job"] if item.many else []
    return describe(name, item.doc, notes)


def describe(name, doc, notes) -> str:
    """Join a file name, its description and notes."""
    return (
        f"{name}"
        + (f" ({'; '.join(notes)})" if notes else "")
        + (f"\n{escape(doc)}" if doc else "")
    )


def heading(text: str, line: str) -> str:
    """Title with its underline."""
    return f"{text}\n{line * len(text)}"


def definitions(pairs) -> str:
    """Definition list."""
    return "\n\n".join(
        f"{term}\n" + "\n".join(f"    {line}" for line in text.splitlines()) for term, text in pairs
    )


UNDERLINED = re.compile(r".+\n-+\n.")


def literals(names) -> str:
    """Comma list of literals."""
    return ", ".join(f"``{name}``" for name in names)


def prose(text: str) -> str:
    """Turn a docstring into paragraphs; what is indented is shown as it stands."""
    parts = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.startswith((" ", "\t")):
            parts.append("::\n\n" + "\n".join(f"    {line}" for line in block.splitlines()))
        elif UNDERLINED.match(block):
            title, _, text = block.split("\n", 2)
            parts += [f"**{title}**", escape(text)]
        else:
            parts.append(escape(block))
    return "\n\n".join(parts)


def escape(text: str) -> str:
    """Make plain text safe for reStructuredText; `words` in backquotes become literals."""
    pieces = re.split(r"`+([^`]+)`+", " ".join(text.split()))
    return "".join(
        f"``{piece}``" if index % 2 else re.sub(r"([\\*_|])", r"\\\1", piece)
        for index, piece in enumerate(pieces)
    )
