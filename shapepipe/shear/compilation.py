"""How functions are compiled, and when what was compiled before is out of date.

numba keeps the machine code of a function until the file of that function changes. Functions of
other files that it calls are part of that code, so that a change of those would go unnoticed: here
the code of all is dropped when any file of this folder is another.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numba

# NaN and infinity keep their meaning in `compiled`; `fast` is for the loops over pixels.
# forceinline: functions become part of those that call them. Otherwise there are several copies,
# rounded differently, and which one runs depends on whether this process compiled them or read
# them from the cache.
EXACT_ENOUGH = {"reassoc", "contract", "arcp", "nsz", "afn"}
compiled = numba.njit(
    cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath=EXACT_ENOUGH
)
fast = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True, fastmath=True)
MARK = "sources.sha256"


def compiled_files(folder: Path) -> list[Path]:
    """Files of a folder that hold compiled functions, or say how they are compiled."""
    return [path for path in folder.glob("*.py") if b"import compiled" in path.read_bytes()]


def drop_outdated(folder: Path, sources: Iterable[Path]) -> bool:
    """Drop the machine code in a folder unless it was made of the sources as they are now.

    Parameters
    ----------
    folder : Path
        Where numba keeps it.
    sources : iterable of Path
        Files that it is made of.

    Returns
    -------
    bool
        Whether it was out of date.
    """
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.name.encode() + path.read_bytes())
    mark, now = folder / MARK, digest.hexdigest()
    try:
        if mark.is_file() and mark.read_text(encoding="ascii") == now:
            return False
        for index in folder.glob("*.nbi"):
            index.unlink(missing_ok=True)
        part = folder / f".{MARK}.{os.getpid()}"
        part.write_text(now, encoding="ascii")
        part.replace(mark)
    except OSError:  # a cache that others keep; it is not ours to change
        return False
    return True
