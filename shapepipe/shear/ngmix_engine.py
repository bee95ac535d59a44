"""The same batch measured by ngmix (2.4 or newer), where the user's environment has it.

Only this file imports ngmix, and only who chooses the engine imports this file.  Screening,
fills, noise fields and columns are those of the native engine, which makes object-by-object
comparisons exact; it is some two hundred times slower.

References
----------
Sheldon 2015, ASCL 1508.008 (ngmix).
"""

from __future__ import annotations

import ngmix
import numpy as np

from . import metacal, pixels
from .batch import Batch, per_object
from .flags import EPOCH_LOSS, NOTES, ShapeFlag
from .moments import adaptive_moments, shape_of
from .noise import white_field
from .settings import SHEAR_TYPES, Settings
from .shapes import Shapes

START_AREA = 0.25  # arcsec^2
TRIES = 5
SEED = 3  # purpose of the noise stream that seeds ngmix's own random numbers


def measure(
    batch: Batch,
    settings: Settings | None = None,
    reconvolution: str = "fitgauss",
    tolerance: float = 1e-9,
) -> Shapes:
    """Measure all objects with ngmix; see `shapepipe.shear.measure`.

    Parameters
    ----------
    reconvolution : {"fitgauss", "gauss", "azgauss", "dilate"}
        ngmix's choice of the kernel; `Settings.target` must be "epoch".
    tolerance : float
        xtol and ftol of the Levenberg-Marquardt fit; the usual 5e-5 leaves noise of 4e-3 in g.
    """
    return measure_with_halves(batch, settings, reconvolution, tolerance)[0]


def measure_with_halves(
    batch: Batch,
    settings: Settings | None = None,
    reconvolution: str = "fitgauss",
    tolerance: float = 1e-9,
) -> tuple[Shapes, ...]:
    """What `measure` gives, followed by the two halves of the noise pair if there is one."""
    settings = settings or Settings()
    if settings.estimator != "fit" or settings.target != "epoch":
        raise ValueError("the ngmix engine knows estimator = fit and target = epoch only")
    found = [
        _measure_part(part, settings, reconvolution, tolerance)
        for _, part in batch.parts(settings.chunk)
    ]
    empty = (Shapes.empty(0),) * settings.results
    return tuple(Shapes.joined(parts) for parts in zip(empty, *found, strict=True))


def _measure_part(batch, settings, reconvolution, tolerance):
    """Objects of one part and their halves; the PSF columns are the native ones."""
    shapes = Shapes.empty(len(batch))
    good, status, sigma = pixels.screen(batch, settings.max_masked)
    usable = (status & int(EPOCH_LOSS)) == 0
    covariance, _, found = adaptive_moments(
        np.asarray(batch.psf, float), batch.jacobian, batch.psf_centre, usable
    )
    status[usable & ~found] |= int(ShapeFlag.BAD_PSF)
    usable &= found
    stamps, weight = _filled(batch, usable, good, sigma, settings)
    halves, b = len(settings.signs), len(batch)
    out = (
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5, 6), np.nan),
        np.full((halves, b, 5), np.nan),
        np.full((halves, b, 6, 2), np.nan),
        np.zeros((halves, b, 5), np.int32),
        np.zeros((halves, b, 5), np.int32),
    )
    for i in range(b):
        own = np.arange(batch.offsets[i], batch.offsets[i + 1])
        own = own[usable[own]]
        for half, sign in enumerate(settings.signs):
            if len(own) == 0:
                out[4][half, i] = int(ShapeFlag.NO_EPOCH)
                continue
            rng = _own_generator(batch, i, own)
            observations = _observations(batch, own, stamps, weight, sign, settings)
            try:
                _measure_object(
                    observations, settings, reconvolution, tolerance, rng, [a[half, i] for a in out]
                )
            except (ngmix.gexceptions.GMixRangeError, ngmix.gexceptions.BootPSFFailure, ValueError):
                out[4][half, i] = int(ShapeFlag.ENGINE_ERROR)
    out[3][:, :, 2:6, :] = _finite_response(out[0], settings.step)
    share = np.where(usable, 1 / np.where(usable, sigma, 1) ** 2, 0.0)
    target = np.where(usable, metacal.target_variance(covariance, settings.step), 1.0)
    shapes.set_psf(*shape_of(covariance), target, share, batch.offsets)
    shapes.notes |= per_object(np.bitwise_or, status, batch.offsets) & int(EPOCH_LOSS | NOTES)
    shapes.n_epoch[:] = per_object(np.add, usable.astype(np.int64), batch.offsets)
    return shapes.with_halves(out)


def _filled(batch, usable, good, sigma, settings):
    """Complex stamps (image, turned noise) and weights, as the native engine makes them."""
    rows = max(batch.image.shape[1:])
    stamps = np.zeros((len(batch.image), rows, rows), complex)
    weight = np.zeros(batch.image.shape)
    pixels.pack(batch, usable, good, sigma, settings, stamps, weight)
    if batch.neighbour is not None:
        weight[batch.neighbour] = 0
    return stamps, weight


def _own_generator(batch, i, own):
    """Random numbers of one object, from its position and first epoch."""
    values = white_field((4,), batch.ra[i], batch.dec[i], batch.epoch[own[0]], SEED)
    return np.random.RandomState(values.view(np.uint32))


def _observations(batch, own, stamps, weight, sign, settings):
    """One object's epochs in ngmix's terms."""
    ny, nx = batch.image.shape[1:]
    made = ngmix.ObsList()
    for e in own:
        image = np.ascontiguousarray(stamps[e].real[:ny, :nx])
        noise = np.rot90(stamps[e].imag[:nx, :ny], k=-1)
        (dudx, dudy), (dvdx, dvdy) = batch.jacobian[e]
        local = {"dudcol": dudx, "dudrow": dudy, "dvdcol": dvdx, "dvdrow": dvdy}
        x, y = batch.centre[e]
        px, py = batch.psf_centre[e]
        psf = np.asarray(batch.psf[e], float)
        psf = ngmix.Observation(
            psf / psf.sum(),
            weight=np.full(psf.shape, 1e10),
            jacobian=ngmix.Jacobian(row=py, col=px, **local),
        )
        made.append(
            ngmix.Observation(
                image,
                weight=weight[e].copy(),
                jacobian=ngmix.Jacobian(row=y, col=x, **local),
                psf=psf,
                noise=sign * noise if settings.fixnoise else None,
            )
        )
    return made


def _measure_object(observations, settings, reconvolution, tolerance, rng, out):
    """Metacalibration images and the fit of each type."""
    pars, variances, s2n, _, flags, passes = out
    fixnoise = {"fixnoise": True, "use_noise_image": True}
    images = ngmix.metacal.get_all_metacal(
        observations,
        psf=reconvolution,
        step=settings.step,
        types=list(SHEAR_TYPES),
        rng=rng,
        **(fixnoise if settings.fixnoise else {"fixnoise": False}),
    )
    fitting = {"maxfev": 4000, "xtol": tolerance, "ftol": tolerance}
    prior = _prior(observations, settings, rng)
    runner = ngmix.runners.Runner(
        fitter=ngmix.fitting.Fitter(model="gauss", prior=prior, fit_pars=fitting),
        guesser=ngmix.guessers.TPSFFluxAndPriorGuesser(rng=rng, T=START_AREA, prior=prior),
        ntry=TRIES,
    )
    psf_runner = ngmix.runners.PSFRunner(
        fitter=ngmix.fitting.Fitter(model="gauss", fit_pars=fitting),
        guesser=ngmix.guessers.SimplePSFGuesser(rng=rng),
        ntry=TRIES,
    )
    for t, kind in enumerate(SHEAR_TYPES):
        psf_runner.go(images[kind])
        result = runner.go(images[kind])
        if result["flags"] != 0:
            flags[t] = int(ShapeFlag.NOT_CONVERGED)
            continue
        # ngmix orders the centre as (v, u)
        order = [1, 0, 2, 3, 4, 5]
        pars[t] = np.asarray(result["pars"])[order]
        variances[t] = np.asarray(result["pars_err"])[order] ** 2
        s2n[t], passes[t] = result["s2n"], result["nfev"]


def _prior(observations, settings, rng):
    """The priors of `Settings`, in ngmix's classes."""
    width = settings.centre_sigma
    if width is None:
        width = np.mean([o.jacobian.scale for o in observations])
    return ngmix.joint_prior.PriorSimpleSep(
        ngmix.priors.CenPrior(0.0, 0.0, width, width, rng=rng),
        ngmix.priors.GPriorBA(settings.shape_sigma, rng=rng),
        ngmix.priors.FlatPrior(*settings.T_range, rng=rng),
        ngmix.priors.FlatPrior(*settings.flux_range, rng=rng),
    )


def _finite_response(pars, step):
    """Responses of (g1, g2, T, flux) from the sheared types, (H, B, 4, 2)."""
    slopes = [(pars[:, :, 2 * j + 1] - pars[:, :, 2 * j + 2]) / (2 * step) for j in range(2)]
    return np.stack(slopes, axis=-1)[:, :, 2:6]
