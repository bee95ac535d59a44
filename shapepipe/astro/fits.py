"""Read and write FITS images, plain, gzip or fpack; a failure names file, HDU and what is there.

Arrays come back in the byte order of the machine, one HDU at a time; what is written holds no
date, so the same pixels and cards give the same bytes. Catalogues are in `ldac`, sky coordinates
in `wcs`.
"""

from __future__ import annotations

import gzip
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from astropy.io import fits

from shapepipe.errors import BadInput

# What astropy and the decompressors raise on damaged bytes.
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,
    AttributeError,
    fits.VerifyError,
)
BLOCK = 2880  # bytes of a FITS block
_GZIP = b"\x1f\x8b"
_CHECKSUM_NOTE = "of this HDU as written"
# Cards that tell how pixels were stored in the file they came from, not what they are.
_STORAGE_CARDS = ("CHECKSUM", "DATASUM", "XTENSION", "PCOUNT", "GCOUNT", "ZIMAGE", "ZQUANTIZ",
                  "ZDITHER0", "ZHECKSUM", "ZDATASUM", "FZALGOR", "FZTILE", "FZQMETHD", "FZQVALUE",
                  "FZDTHRSD", "FZINT2F", "INHERIT", "BZERO", "BSCALE")  # fmt: skip


@contextmanager
def open_hdus(path: str | Path, memmap: bool = False) -> Iterator[fits.HDUList]:
    """Give the HDUs of a file; damage met inside the block is raised as `BadInput`.

    Keep the block short: read what is needed and leave, since array errors of the caller's own
    would be taken for damage as well.

    Parameters
    ----------
    path : str or Path
        FITS file, plain, gzip or with compressed images.
    memmap : bool, optional
        Map the file instead of reading an HDU whole (tables of which few columns are wanted).

    Yields
    ------
    astropy.io.fits.HDUList
        HDUs, read when asked for.

    Raises
    ------
    BadInput
        The file is absent, unreadable, not FITS, cut short or damaged.
    """
    with _damage_named(path), fits.open(path, memmap=memmap, lazy_load_hdus=True) as hdus:
        yield hdus


def read_images(
    path: str | Path, wanted: Sequence[int | str], scratch: str | Path | None = None
) -> Iterator[tuple[np.ndarray, fits.Header]]:
    """Read several HDUs of a file one after the other, each pixel array once.

    Parameters
    ----------
    path : str or Path
        Mosaic, plain, gzip or fpack.
    wanted : sequence of int or str
        Numbers or EXTNAMEs.
    scratch : str or Path, optional
        Directory for a temporary file: a gzip file is unpacked there once, since each
        step back in it would unpack it anew from the start.

    Yields
    ------
    data : ndarray, shape (ny, nx)
        As from `read_image`; an image without finite pixels is given like any other.
    header : Header
        Of that HDU.

    Raises
    ------
    BadInput
        When an HDU that is missing, has no pixels or is damaged is reached.
    """
    with ExitStack() as stack:
        with _damage_named(path):
            plain = stack.enter_context(_unpacked(path, scratch))
            hdus = stack.enter_context(fits.open(plain, memmap=False, lazy_load_hdus=True))
        for hdu in wanted:
            with _damage_named(path):
                unit = find_hdu(path, hdus, hdu)
                data = pixels(path, hdus, unit)
                header = unit.header.copy()
            yield data, header


@contextmanager
def _unpacked(path, scratch):
    """Give the path of plain FITS: the file itself, or what gzip had packed."""
    with Path(path).open("rb") as packed:
        if packed.peek(2)[:2] != _GZIP:
            yield path
            return
        with NamedTemporaryFile(dir=scratch) as plain, gzip.open(packed) as stream:
            shutil.copyfileobj(stream, plain, 1 << 20)
            plain.flush()
            yield plain.name


@contextmanager
def _damage_named(path):
    """Turn what the reading of bad bytes raises into `BadInput`; keep astropy's warnings off."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except FileNotFoundError:
            raise BadInput(path, "there is no such file") from None
        except PermissionError:
            raise BadInput(path, "may not be read (permission denied)") from None
        except IsADirectoryError:
            raise BadInput(path, "is a directory", "a FITS file") from None
        except _DAMAGE as error:
            raise BadInput(path, _explain(path, error, caught), "a complete FITS file") from error


def read_image(path: str | Path, hdu: int | str | None = None, finite: bool = True) -> np.ndarray:
    """Read the pixels of one HDU.

    Parameters
    ----------
    path : str or Path
        FITS file, plain, gzip or fpack.
    hdu : int or str, optional
        Number (0 is the primary) or EXTNAME; default the first HDU that has pixels.
    finite : bool, optional
        Refuse an image without a single finite pixel.

    Returns
    -------
    ndarray, shape (ny, nx)
        Pixels as stored (BZERO and BSCALE applied), native byte order, own memory.

    Raises
    ------
    BadInput
        Missing HDU, no pixels, cut short, or nothing but NaN.
    """
    return read(path, hdu, finite)[0]


def read(
    path: str | Path, hdu: int | str | None = None, finite: bool = True
) -> tuple[np.ndarray, fits.Header]:
    """Read pixels and header of one HDU; parameters as for `read_image`."""
    with open_hdus(path) as hdus:
        unit = find_hdu(path, hdus, hdu)
        data = pixels(path, hdus, unit)
        header = unit.header.copy()
    if finite:
        _check_finite(path, unit, data)
    return data, header


def is_packed(path: str | Path) -> bool:
    """Tell whether a file is packed by gzip or fpack, which many programs cannot read."""
    with Path(path).open("rb") as file:
        if file.read(2) == _GZIP:
            return True
    with open_hdus(path) as hdus:
        return any(isinstance(hdu, fits.CompImageHDU) for hdu in hdus)


def read_header(path: str | Path, hdu: int | str | None = None) -> fits.Header:
    """Read the header of one HDU (default: of the first HDU that has pixels)."""
    with open_hdus(path) as hdus:
        return find_hdu(path, hdus, hdu, need_pixels=hdu is None).header.copy()


def write_image(
    path: str | Path,
    data: np.ndarray,
    header: fits.Header | Mapping | None = None,
    checksum: bool = False,
) -> None:
    """Write one image in the primary HDU (`.fz`: compressed without loss in HDU 1).

    Parameters
    ----------
    path : str or Path
        File to make, or to replace; `.gz` and `.fz` are compressed.
    data : ndarray, shape (ny, nx)
        Pixels; bool is stored as uint8.
    header : Header or mapping, optional
        Cards to keep; those that describe how other bytes were stored are left out.
    checksum : bool, optional
        Add CHECKSUM and DATASUM.
    """
    data = np.asarray(data)
    data = data.astype(np.uint8) if data.dtype == bool else data
    cards = image_cards(header)
    if data.dtype.kind == "f":
        cards.remove("BLANK", ignore_missing=True)
    if Path(path).name.endswith("fz"):
        how = "GZIP_2" if data.dtype.kind == "f" else "RICE_1"
        image = fits.CompImageHDU(data, cards, compression_type=how, quantize_level=0)
        hdus = fits.HDUList([fits.PrimaryHDU(), image])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(data, cards)])
    write_hdus(path, hdus, checksum)


def write_hdus(path: str | Path, hdus: fits.HDUList, checksum: bool = False) -> None:
    """Write HDUs so that the same content gives the same bytes (no dates, also inside gzip).

    Raises
    ------
    OSError
        As given by the system (disk full, no permission).
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        for hdu in hdus if checksum else ():
            hdu.add_checksum(when=_CHECKSUM_NOTE)
        if path.suffix != ".gz":
            hdus.writeto(path, overwrite=True, output_verify="silentfix+ignore")
            return
        buffer = BytesIO()
        hdus.writeto(buffer, output_verify="silentfix+ignore")
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        packed.write(buffer.getbuffer())


def image_cards(header: fits.Header | Mapping | None) -> fits.Header:
    """Cards of a header without those that tell how the pixels were stored."""
    cards = header.copy() if isinstance(header, fits.Header) else fits.Header(header or {})
    for name in _STORAGE_CARDS:
        cards.remove(name, ignore_missing=True, remove_all=True)
    if cards.get("EXTNAME") == "COMPRESSED_IMAGE":  # invented by fpack where there was no name
        del cards["EXTNAME"]
    return cards


def find_hdu(path, hdus: fits.HDUList, hdu: int | str | None, need_pixels: bool = True):
    """Pick an HDU by number or EXTNAME, or the first with pixels; say what is there if it is not.

    Raises
    ------
    BadInput
        No such HDU, or one without pixels where pixels are needed.
    """
    if hdu is None:
        found = next((unit for unit in hdus if _has_pixels(unit)), None)
        if found is None:
            raise BadInput(path, f"no HDU holds an image; there is {describe(hdus)}")
        return found
    try:
        found = hdus[hdu]
    except (IndexError, KeyError):
        damage = _after_last(hdus)
        raise BadInput(path, f"HDU {hdu} is missing{damage}", f"one of {describe(hdus)}") from None
    if need_pixels and not _has_pixels(found):
        raise BadInput(path, f"HDU {hdu} holds no image", f"one of {describe(hdus)}")
    return found


def pixels(path, hdus: fits.HDUList, unit) -> np.ndarray:
    """Pixels of an HDU in native byte order and own memory; to be called inside `open_hdus`."""
    check_complete(path, hdus, unit)
    data = unit.data
    del unit.data
    if data.dtype.isnative or not data.flags.writeable or data.base is not None:
        return np.array(data, dtype=data.dtype.newbyteorder("="), order="C")
    return data.byteswap(inplace=True).view(data.dtype.newbyteorder("="))


def check_complete(path, hdus: fits.HDUList, unit) -> None:
    """Raise `BadInput` if the file ends before the data of this HDU do (plain files only)."""
    place = unit.fileinfo()
    if place is None or place["file"].compression:
        return
    on_disk = place["file"].size
    # The span is padded to blocks of 2880 bytes; a file that lacks only the padding can be read.
    end = place["datLoc"] + max(0, place["datSpan"] - BLOCK + 1)
    if on_disk < end:
        number = next(i for i, hdu in enumerate(hdus) if hdu is unit)
        raise BadInput(
            path,
            f"is cut short: HDU {number} goes on to byte {end} at least, the file to {on_disk}",
        )


def describe(hdus: fits.HDUList) -> str:
    """List HDUs in one line, such as ``0 (no data), 1 CCD_R (2048 x 1489)``."""
    return ", ".join(_describe_one(i, hdu) for i, hdu in enumerate(hdus))


def _after_last(hdus):
    """Say whether something that is no HDU follows the last one: a header that was cut short."""
    place = hdus[-1].fileinfo()
    if place is None or place["file"].compression:
        return ""
    rest = place["file"].size - place["datLoc"] - place["datSpan"]
    if rest > 0:
        return f"; {rest} bytes after the last HDU are cut short or damaged"
    return "; the last HDU is cut short" if rest <= -BLOCK else ""


def _describe_one(number, hdu):
    shape = " x ".join(str(n) for n in reversed(hdu.shape)) if hdu.is_image else (
        f"table of {hdu.header.get('NAXIS2', 0)} rows"
    )  # fmt: skip
    name = "" if hdu.name in ("PRIMARY", "COMPRESSED_IMAGE", "") else f" {hdu.name}"
    return f"{number}{name} ({shape or 'no data'})"


def _has_pixels(hdu) -> bool:
    return hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and 0 not in hdu.shape


def _check_finite(path, unit, data):
    if data.dtype.kind != "f" or np.isfinite(data.ravel()[:: max(1, data.size // 997)]).any():
        return
    if not np.isfinite(data).any():
        raise BadInput(path, f"image {unit.name or ''}".rstrip() + " has no finite pixel (all NaN)")


def _explain(path, error, caught):
    """Say in one line what is wrong with a file that astropy could not read."""
    head = Path(path).open("rb").read(BLOCK) if Path(path).is_file() else b""
    if not head:
        return "is empty"
    if not head.startswith((b"SIMPLE", _GZIP, b"BZh", b"\xfd7z", b"XTENSION")):
        return f"is not a FITS file; it begins with {head[:24]!r}"
    if head.startswith(b"SIMPLE") and b"\n" in head:
        return "is not FITS but text: its header has line breaks"
    if head.startswith(_GZIP) and not _unpacks(path):
        return "is a gzip file that was cut short or damaged"
    if head.startswith(_GZIP):
        with gzip.open(path) as packed:
            head = packed.read(80)
        if not head.startswith(b"SIMPLE"):
            return f"is a gzip file of something that is not FITS; it begins with {head[:24]!r}"
    said = " ".join(str(error).split()) or type(error).__name__
    notes = [" ".join(str(w.message).split()) for w in caught if "truncated" in str(w.message)]
    return "cannot be read as FITS: " + "; ".join([said, *notes])[:300]


def _unpacks(path):
    try:
        with gzip.open(path) as packed:
            while packed.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error):
        return False
    return True
