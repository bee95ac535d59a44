"""Read the configuration files of SExtractor and PSFEx: one `KEY value # comment` per line."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"^\s*([A-Za-z]\w*)[ \t=]+([^#\n]*)", re.MULTILINE)


def read_dotfile(path: str | Path) -> dict[str, str]:
    """Give key (upper case) and value of each line that sets one.

    Parameters
    ----------
    path : str or Path
        A `.sex` or `.psfex` file.

    Returns
    -------
    dict of str to str
        Values without comment and outer blanks.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return {key.upper(): value.strip() for key, value in _LINE.findall(text)}
