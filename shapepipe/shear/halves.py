"""Tables of the two halves of the noise pair, from the columns that files have.

The averages over the pair have less noise, but cuts and weights must see each half: the added
noise, which makes the noise of sheared images round again, is averaged away from the averages.
Reading files is left to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .settings import SHEAR_TYPES

HALF_COLUMNS = ("g1", "g2", "T", "flux", "s2n", "flags", "g1_err", "g2_err")
"""What cuts, weights and responses need of each half; names end in _a and _b."""

# averages over the pair that a half does not have
_AVERAGED = {"T_err", "flux_err", "u", "v", "r50", "mag", "mag_err", "mcal_flags", "notes"}
_AVERAGED |= {"passes", "ntry_fit"}
_AVERAGED |= {f"R{j}_{name}" for j in (1, 2) for name in ("g1", "g2", "T", "flux")}
# prefix of the columns in the catalogue of a stack, and the names there that are not the same
_PREFIX = "NGMIX_"
_VECTORS = {"ELL": ("g1", "g2"), "ELL_ERR": ("g1_err", "g2_err")}
_SCALARS = {"T": "T", "T_ERR": "T_err", "Tpsf": "Tpsf", "SNR": "s2n", "FLUX": "flux",
            "FLUX_ERR": "flux_err", "MAG": "mag", "MAG_ERR": "mag_err", "FLAGS": "flags",
            "R50": "r50"}  # fmt: skip
_SCALARS |= {f"{name}_{h}".upper(): f"{name}_{h}" for name in HALF_COLUMNS for h in "ab"}
_SCALARS |= {name.upper(): name for name in _AVERAGED if name.startswith("R")}


def halves_of(tables: Mapping[str, Mapping]) -> list[Mapping[str, Mapping]]:
    """Tables of each half, under the plain names of columns; without a pair the tables as given.

    Parameters
    ----------
    tables : mapping of shear type to table
        With columns g1_a, g1_b ... (`HALF_COLUMNS`).  Columns that are not measured on the
        sheared images, such as those of the PSF, are common to both halves; averages that a
        half does not have (magnitudes, `r50`) are left out: use flux and T.
    """
    if not all("g1_a" in set(table.keys()) for table in tables.values()):
        return [tables]
    return [{kind: _half(table, h) for kind, table in tables.items()} for h in "ab"]


def _half(table, suffix):
    """One half of the table of one shear type."""
    own = {f"{name}_{h}" for name in HALF_COLUMNS for h in "ab"} | set(HALF_COLUMNS) | _AVERAGED
    made = {name: table[name] for name in table.keys() if name not in own}
    return made | {name: np.asarray(table[f"{name}_{suffix}"]) for name in HALF_COLUMNS}


def tables_of(catalogue: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Tables of all shear types from the catalogue of a stack, as `make_cat_runner` writes it.

    Parameters
    ----------
    catalogue : mapping of str to ndarray
        Columns NGMIX_<NAME>_<TYPE>; all others are taken over into each table.
    """
    endings = tuple(f"_{kind.upper()}" for kind in SHEAR_TYPES)
    names = list(catalogue.keys())
    shared = [n for n in names if not (n.startswith(_PREFIX) and n.endswith(endings))]
    made = {}
    for kind, ending in zip(SHEAR_TYPES, endings, strict=True):
        table = {name: catalogue[name] for name in shared}
        for name in names:
            if name.startswith(_PREFIX) and name.endswith(ending):
                short = name[len(_PREFIX) : -len(ending)]
                if short in _VECTORS:
                    for axis, part in enumerate(_VECTORS[short]):
                        table[part] = np.asarray(catalogue[name])[:, axis]
                elif short in _SCALARS:
                    table[_SCALARS[short]] = catalogue[name]
        made[kind] = table
    return made
