"""Header cards of simulated mosaics, in the words of CFHT."""

from __future__ import annotations

from astropy.io import fits
from astropy.time import Time

from shapepipe.simulate.camera import Camera
from shapepipe.simulate.detector import Defect
from shapepipe.simulate.exposures import Exposure, Frame

STACK_ZERO_POINT = 30.0
"""Zero point that FSCALE brings an exposure to."""


def flux_scale(exposure: Exposure) -> float:
    """FSCALE: factor that brings the counts of an exposure to zero point 30."""
    return 10.0 ** (0.4 * (STACK_ZERO_POINT - exposure.zero_point))


def primary_cards(exposure: Exposure, camera: str, filter_name: str, n_ccds: int) -> fits.Header:
    """Primary header of a mosaic."""
    cards = fits.Header()
    cards["NEXTEND"] = (n_ccds, "Number of extensions")
    cards["ORIGIN"] = ("SIMULATED", "Not an observation")
    cards.update(_observation_cards(exposure, camera, filter_name))
    cards["RA_DEG"] = (exposure.ra, "Telescope right ascension in degrees")
    cards["DEC_DEG"] = (exposure.dec, "Telescope declination in degrees")
    return cards


def ccd_cards(frame: Frame, camera: Camera, filter_name: str) -> fits.Header:
    """Header of one CCD, world coordinates included."""
    chip, (x0, x1, y0, y1) = camera.chips[frame.index], frame.light
    cards = fits.Header()
    cards["EXTNAME"] = (chip.name, "CCD number in the mosaic")
    cards["EXTVER"] = (frame.index, "Matches the CCD number in the mosaic")
    cards.update(_observation_cards(frame.exposure, camera.name, filter_name))
    cards["CCDSIZE"] = (f"[1:{x1 - x0},1:{y1 - y0}]", "Detector imaging area size")
    cards["DATASEC"] = (f"[{x0 + 1}:{x1},{y0 + 1}:{y1}]", "Imaging area of the entire CCD")
    cards["DETSEC"] = (_mosaic_section(chip, camera), "Mosaic area of the entire readout")
    cards["GAIN"] = (frame.gain, "Converting gain (e-/ADU)")
    cards["RDNOISE"] = (frame.read_noise, "Read noise (electrons)")
    cards["SATURATE"] = (frame.saturation, "Pixel saturation level (ADU)")
    cards.update(photometry_cards(frame.exposure))
    cards.update(frame.wcs_cards)
    return cards


def photometry_cards(exposure: Exposure) -> fits.Header:
    """PHOTZP and FSCALE."""
    cards = fits.Header()
    cards["PHOTZP"] = (exposure.zero_point, "Magnitude of one ADU in this exposure")
    cards["FSCALE"] = (flux_scale(exposure), "Factor to counts at zero point 30")
    return cards


def flag_cards() -> fits.Header:
    """Names of the bits of a flag image."""
    cards = fits.Header()
    for bit in Defect:
        cards[f"FLAG{int(bit).bit_length() - 1:02d}"] = (bit.name, f"Meaning of {int(bit)}")
    return cards


def _observation_cards(exposure, camera, filter_name):
    start = Time(exposure.date, scale="utc")
    cards = fits.Header()
    cards["FILENAME"] = (f"{exposure.number}p", "Name at the archive")
    cards["OBJECT"] = ("SIMULATION", "Target")
    cards["OBSTYPE"] = ("OBJECT", "Exposure type")
    cards["EXPNUM"] = (exposure.number, "Odometer number")
    cards["OBSID"] = (exposure.number, "Odometer number")
    cards["INSTRUME"] = (camera, "Camera")
    cards["DETECTOR"] = ("MegaCam" if camera == "MegaPrime" else camera, "Detector")
    cards["FILTER"] = (filter_name, "Name of filter")
    cards["EXPTIME"] = (exposure.time, "Integration time (seconds)")
    cards["DATE-OBS"] = (start.isot, "Date at start of observation (UTC)")
    cards["UTC-OBS"] = (start.isot.split("T")[1], "Time at start of observation (UTC)")
    cards["MJD-OBS"] = (start.mjd, "Modified Julian Date at start")
    return cards


def _mosaic_section(chip, camera):
    x, y = int(chip.x), int(chip.y)
    across, up = (x, x + camera.width - 1), (y, y + camera.height - 1)
    if chip.rotated:
        across, up = across[::-1], up[::-1]
    return f"[{across[0]}:{across[1]},{up[0]}:{up[1]}]"
