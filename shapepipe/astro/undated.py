"""Take the time of the run out of SExtractor's catalogues, so that equal work gives equal bytes.

Of all that SExtractor and PSFEx write, only three cards change from run to run: SEXDATE, SEXTIME
and SEXELAPS, in the copy of the image header that LDAC catalogues carry. They are set to a fixed
value of the same form, in place. Models and catalogues of PSFEx (with one thread) and check images
hold none.
"""

from __future__ import annotations

from pathlib import Path

from shapepipe.astro import fits, ldac

FIXED_CARDS = {
    "SEXDATE": "'00/00/0000'         / Extraction date (not kept)",
    "SEXTIME": "'00:00:00'           / Extraction time (not kept)",
    "SEXELAPS": "          0.00000000 / Elapsed time during extraction (not kept)",
}
_CARD = 80


def forget_dates(path: str | Path) -> int:
    """Overwrite the cards of `FIXED_CARDS` in the LDAC_IMHEAD of a catalogue.

    Parameters
    ----------
    path : str or Path
        Plain FITS_LDAC file; changed in place.

    Returns
    -------
    int
        Number of cards overwritten.
    """
    with fits.open_hdus(path) as hdus:
        place = hdus[ldac.HEADER_HDU].fileinfo()
        start, length = place["datLoc"], hdus[ldac.HEADER_HDU].size
    count = 0
    with Path(path).open("r+b") as file:
        file.seek(start)
        cards = file.read(length)
        for at in range(0, length, _CARD):
            name = cards[at : at + 8].decode("latin1").rstrip()
            if name in FIXED_CARDS:
                file.seek(start + at)
                file.write(f"{name:<8}= {FIXED_CARDS[name]}".ljust(_CARD).encode("ascii"))
                count += 1
    return count
