"""Read INI files other than that of a run: sections declared by whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.config import IniText
from shapepipe.pipeline.options import Section, check_values, nearest, spellings


def read_sections(
    path: str | Path, declared: Mapping[str, type[Section]], warnings: list[str] | None = None
) -> dict[str, Section]:
    """Read and check every section of an INI file.

    Parameters
    ----------
    path : str or Path
        INI file.
    declared : mapping of str to type
        Name of each section that may occur, and the class that declares its options.
    warnings : list of str, optional
        Gets a line for each option of an earlier version that no longer acts.

    Returns
    -------
    dict of str to Section
        Every declared section; one that is not in the file has its defaults.

    Raises
    ------
    ConfigurationError
        With all complaints at once, each with file and line and the nearest valid name.
    """
    ini, sections = IniText(Path(path)), {}
    complaints = list(ini.complaints)
    for name in ini.values.keys() - declared.keys():
        complaints.append(f"{ini.where(name)}: unknown section{nearest(name, declared)}")
    for name, cls in declared.items():
        known, texts = spellings(cls), {}
        retired = {option.lower(): why for option, why in cls.retired.items()}
        for key, value in ini.values.get(name, {}).items():
            if key in known:
                texts[known[key]] = value.text
            elif key in retired:
                where = f"{ini.where(name, key)} {key.upper()}"
                if warnings is not None:
                    warnings.append(f"{where}: no longer does anything: {retired[key]}")
            else:
                near = nearest(key.upper(), [item.upper() for item in known])
                complaints.append(f"{ini.where(name, key)} {key.upper()}: unknown option{near}")
        section, wrong = check_values(cls, texts)
        if section is not None:
            sections[name] = section
        complaints += [f"{ini.where(name, key)} {key.upper()}: {why}" for key, why in wrong.items()]
    if complaints:
        raise ConfigurationError(sorted(complaints))
    return sections
