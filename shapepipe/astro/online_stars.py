"""Ask on-line catalogues for bright stars; needs astroquery, and is loaded only when named.

Any other function with the same parameters and result can take the place of these.
"""

from __future__ import annotations

from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astroquery.vizier import Vizier


def query_gaia(ra: float, dec: float, radius: float, faintest: float) -> Table:
    """Stars of Gaia DR3 with their G magnitude.

    Parameters
    ----------
    ra, dec, radius : float
        Field (deg).
    faintest : float
        Faintest magnitude.

    Returns
    -------
    Table
        Columns `ra`, `dec` (deg) and `mag`; no rows where there are no stars.
    """
    return _ask("I/355/gaiadr3", "RA_ICRS", "DE_ICRS", ("Gmag",), ra, dec, radius, faintest)


def query_gsc(ra: float, dec: float, radius: float, faintest: float) -> Table:
    """Stars of the Guide Star Catalog 2.3.2, parameters as for `query_gaia`."""
    names = ("Fmag", "jmag", "Vmag", "Nmag")
    return _ask("I/305/out", "RAJ2000", "DEJ2000", names, ra, dec, radius, faintest, Class="0")


def _ask(catalogue, alpha, delta, mags, ra, dec, radius, faintest, **wanted):
    service = Vizier(columns=[alpha, delta, *mags], row_limit=-1, column_filters=wanted)
    if len(mags) == 1:  # a limit on one of several would lose stars that lack it
        service.column_filters = {**wanted, mags[0]: f"<{faintest}"}
    answer = service.query_region(
        SkyCoord(ra, dec, unit="deg"), radius=radius * units.deg, catalog=catalogue
    )
    if not answer:
        return Table(names=("ra", "dec", "mag"), dtype=(float, float, float))
    table = answer[0]
    table.rename_columns([alpha, delta], ["ra", "dec"])
    if len(mags) == 1:
        table.rename_column(mags[0], "mag")
    return table
