"""What an exposure is, and how one CCD of it is made; files are written by `mosaic`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from shapepipe.simulate import detector
from shapepipe.simulate.astrometry import (
    draw_distortion,
    from_plane,
    jacobians,
    outline,
    to_plane,
)
from shapepipe.simulate.camera import Camera, make_grid, make_megacam
from shapepipe.simulate.detector import Defect
from shapepipe.simulate.draw import draw_sources
from shapepipe.simulate.psf import PsfField, draw_field
from shapepipe.simulate.sky import Sky
from shapepipe.simulate.streams import Stream, stream
from shapepipe.simulate.survey import CameraSection, Survey, tile_centre

MARGIN = 60
"""Sources whose centre is this far outside of a frame (pixel) are drawn as well."""
_CUT = 0.02  # sources are cut off at this part of the noise of a pixel


@dataclass(frozen=True)
class Exposure:
    """One pointing of the camera, and the state of sky and optics meanwhile."""

    number: int
    ra: float  # deg
    dec: float
    angle: float  # deg, north towards east
    date: str  # UTC, start
    time: float  # s
    zero_point: float  # magnitude of one ADU
    sky: float  # mag / arcsec^2 on the axis
    slope: tuple[float, float]  # relative change of the sky to the edge
    fading: float
    radius: float  # deg, of the field
    psf: PsfField
    distortion: Mapping[str, float] = field(default_factory=dict)

    def field_position(self, ra, dec) -> tuple[np.ndarray, np.ndarray]:
        """Position in the field: to the west and north of the axis, in units of its radius."""
        xi, eta = to_plane(ra, dec, self.ra, self.dec)
        return -xi / self.radius, eta / self.radius

    def flux(self, mag) -> np.ndarray:
        """Counts (ADU) of a source."""
        return 10.0 ** (0.4 * (self.zero_point - np.asarray(mag, float)))


@dataclass(frozen=True)
class Frame:
    """One CCD of one exposure, before anything is drawn on it."""

    exposure: Exposure
    index: int
    wcs_cards: fits.Header
    shape: tuple[int, int]
    light: tuple[int, int, int, int]  # x0, x1, y0, y1, 0-based, ends excluded
    gain: float  # e-/ADU
    read_noise: float  # e-
    saturation: float  # ADU
    bad: np.ndarray | None = None  # numpy.packbits of what is bad; None: draw bad columns

    @property
    def wcs(self) -> WCS:
        """World coordinates."""
        return WCS(self.wcs_cards)


@dataclass(frozen=True)
class Ccd:
    """One finished CCD: pixels (ADU), inverse variance, flags, and the truth about its sources."""

    image: np.ndarray  # float32
    weight: np.ndarray  # float32
    flag: np.ndarray  # int16
    truth: np.ndarray  # structured
    sky: float  # ADU, at the centre


EPOCH_COLUMNS = {
    "x": float, "y": float, "flux": float,
    "psf_fwhm": float, "psf_g1": float, "psf_g2": float, "psf_coma1": float, "psf_coma2": float,
}  # fmt: skip
"""What the truth about a source adds in each epoch to its columns as an object."""


def make_camera(options: CameraSection) -> Camera:
    """Build the camera that a survey names."""
    if options.geometry == "megacam":
        return make_megacam()
    return make_grid(
        options.columns, options.rows, options.width, options.height, options.gap,
        options.pixel_scale, options.cubic,
    )  # fmt: skip


def centre(survey: Survey) -> tuple[float, float]:
    """Centre of a survey, deg."""
    ra, dec = tile_centre(survey.survey.tiles[0])
    given = survey.survey
    return (ra if given.ra is None else given.ra), (dec if given.dec is None else given.dec)


def make_sky(survey: Survey) -> Sky:
    """Build the sky of a survey."""
    return Sky(survey.survey.seed, *centre(survey), survey.stars, survey.galaxies)


def plan_exposures(survey: Survey, camera: Camera) -> list[Exposure]:
    """Draw pointing, seeing, sky and distortion of every exposure."""
    return [draw_exposure(survey, camera, i) for i in range(survey.exposures.count)]


def draw_exposure(survey: Survey, camera: Camera, i: int) -> Exposure:
    """Draw exposure `i` of a survey; each has a stream of its own."""
    options, rng = survey.exposures, stream(survey.survey.seed, Stream.EXPOSURE, i)
    away, turn = options.dither * math.sqrt(rng.random()), 2 * math.pi * rng.random()
    east, north = away * math.cos(turn), away * math.sin(turn)
    if options.offsets_east:
        east, north = options.offsets_east[i], options.offsets_north[i]
    ra, dec = from_plane(east / 3600.0, north / 3600.0, *centre(survey))
    start = np.datetime64(options.date) + np.timedelta64(round(i * (options.time + 40.0)), "s")
    heading = 2 * math.pi * rng.random()
    gradient = survey.sky.gradient
    return Exposure(
        number=options.first_number + i,
        ra=float(ra),
        dec=float(dec),
        angle=float(options.angle_scatter * rng.standard_normal()),
        date=str(start),
        time=options.time,
        zero_point=float(options.zero_point + options.zero_point_scatter * rng.standard_normal()),
        sky=float(survey.sky.brightness + 0.1 * rng.standard_normal()),
        slope=(gradient * math.cos(heading), gradient * math.sin(heading)),
        fading=gradient,
        radius=camera.radius,
        psf=draw_field(survey.psf, rng),
        distortion=draw_distortion(camera, survey.camera.distortion_scatter, rng),
    )


def draw_ccd(survey: Survey, frame: Frame) -> Ccd:
    """Draw everything on one CCD.

    Parameters
    ----------
    survey : Survey
        Options.
    frame : Frame
        Which CCD.
    """
    options, exposure, sky = survey.detector, frame.exposure, make_sky(survey)
    rng = stream(survey.survey.seed, Stream.PIXELS, exposure.number, frame.index)
    level = background(frame)
    noise = math.sqrt(float(np.median(level)) / frame.gain + (frame.read_noise / frame.gain) ** 2)
    truth, scale = find_sources(sky, frame)
    image = draw_sources(
        frame.shape, truth, scale, exposure.psf.profile, exposure.psf.beta, _CUT * noise
    )
    image += level
    lit = detector.sensitive(frame.shape, frame.light)
    flag = np.where(lit, 0, int(Defect.UNEXPOSED)).astype(np.int16)
    flag[_add_trails(survey, frame, image, noise) & lit] |= Defect.TRAIL
    if options.noise:
        detector.add_noise(image, frame.gain, frame.read_noise, rng, options.noise_law)
    mean_hits = options.cosmic_rays * image.size * 1e-6
    hit = detector.add_cosmic_rays(image, frame.light, mean_hits, frame.gain, rng)
    flag[hit] |= Defect.COSMIC
    image[~lit] = 0.0
    if options.bleeding:
        flag[detector.bleed(image, frame.saturation) & lit] |= Defect.SATURATED
    bad = _bad_pixels(survey, frame) & lit
    image[bad] *= (0.5 + 0.2 * rng.random(int(bad.sum()))).astype(np.float32)
    flag[bad] |= Defect.BAD
    weight = _weight(level, frame)
    weight[(flag & (Defect.BAD | Defect.COSMIC | Defect.UNEXPOSED)) != 0] = 0.0
    inside = _inside(truth, frame.light, 0)
    middle = float(level[frame.shape[0] // 2, frame.shape[1] // 2])
    return Ccd(image, weight, flag, truth[inside], middle)


def find_sources(sky: Sky, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Sources on and near a frame, with what the epoch adds, and the Jacobian at each."""
    wcs, exposure = frame.wcs, frame.exposure
    objects = sky.objects(*outline(wcs, frame.shape), margin=MARGIN * 0.2)
    columns = [(name, objects.dtype[name]) for name in objects.dtype.names]
    sources = np.zeros(objects.size, dtype=columns + list(EPOCH_COLUMNS.items()))
    for name in objects.dtype.names:
        sources[name] = objects[name]
    sources["x"], sources["y"] = wcs.all_world2pix(objects["ra"], objects["dec"], 0)
    ny, nx = frame.shape
    sources = sources[_inside(sources, (0, nx, 0, ny), MARGIN)]
    sources["flux"] = exposure.flux(sources["mag"])
    u, v = exposure.field_position(sources["ra"], sources["dec"])
    for name, values in exposure.psf.at(u, v).items():
        sources[name] = values
    return sources, jacobians(wcs, sources["x"], sources["y"])


def background(frame: Frame) -> np.ndarray:
    """Sky (ADU per pixel) over a frame, float32."""
    ny, nx = frame.shape
    exposure, wcs = frame.exposure, frame.wcs
    x, y = np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9))
    u, v = exposure.field_position(*wcs.all_pix2world(x.ravel(), y.ravel(), 0))
    area = abs(np.linalg.det(jacobians(wcs, [nx / 2.0], [ny / 2.0])[0]))
    mean = float(exposure.flux(exposure.sky)) * area
    coarse = detector.sky_level(u, v, mean, exposure.slope, exposure.fading)
    return detector.expand(coarse.reshape(x.shape), frame.shape)


def _inside(sources, box, margin):
    """Sources whose centre is inside x0, x1, y0, y1 widened by a margin."""
    x0, x1, y0, y1 = box
    x, y = sources["x"], sources["y"]
    return (
        (x >= x0 - 0.5 - margin) & (x < x1 - 0.5 + margin)
        & (y >= y0 - 0.5 - margin) & (y < y1 - 0.5 + margin)
    )  # fmt: skip


def _add_trails(survey, frame, image, noise):
    """Draw the satellites that cross the field of an exposure; the same on all its CCDs."""
    exposure, touched = frame.exposure, np.zeros(frame.shape, bool)
    rng = stream(survey.survey.seed, Stream.TRAIL, exposure.number)
    scale = math.sqrt(abs(np.linalg.det(frame.wcs.pixel_scale_matrix))) * 3600.0
    for _ in range(rng.poisson(survey.detector.trails)):
        turn, away = 2 * math.pi * rng.random(), exposure.radius * (rng.random() - 0.5)
        peak = 10.0 * noise * math.exp(rng.standard_normal())
        run = np.linspace(-1.5, 1.5, 4001) * exposure.radius
        xi = away * math.cos(turn) - run * math.sin(turn)
        eta = away * math.sin(turn) + run * math.cos(turn)
        near = _near(frame, xi, eta)
        if near.sum() < 2:
            continue
        place = from_plane(xi[near], eta[near], exposure.ra, exposure.dec)
        x, y = frame.wcs.all_world2pix(*place, 0)
        sigma = exposure.psf.fwhm / 2.355 / scale
        touched |= detector.add_trail(image, x, y, peak, sigma)
    return touched


def _near(frame, xi, eta):
    """Points of the exposure's plane in the box around a frame, one arcmin wider."""
    exposure = frame.exposure
    edge_xi, edge_eta = to_plane(*outline(frame.wcs, frame.shape), exposure.ra, exposure.dec)
    wide = 1.0 / 60.0
    return (
        (xi > edge_xi.min() - wide) & (xi < edge_xi.max() + wide)
        & (eta > edge_eta.min() - wide) & (eta < edge_eta.max() + wide)
    )  # fmt: skip


def _bad_pixels(survey, frame):
    """Bad pixels of a CCD: given ones, or columns drawn once and for all exposures."""
    if frame.bad is not None:
        bits = np.unpackbits(frame.bad, count=frame.shape[0] * frame.shape[1])
        return bits.astype(bool).reshape(frame.shape)
    rng = stream(survey.survey.seed, Stream.CHIP, frame.index)
    return detector.bad_columns(frame.shape, frame.light, survey.detector.bad_columns, rng)


def _weight(level, frame):
    """Inverse variance of the background, ADU^-2, float32."""
    return (1.0 / (level / frame.gain + (frame.read_noise / frame.gain) ** 2)).astype(np.float32)
