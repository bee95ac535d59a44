"""Speed, equality and accuracy of the shape measurement; one line of JSON for each figure.

    python scripts/bench.d/shear.py speed [--objects 96]      per object, next to the floor
    python scripts/bench.d/shear.py equality [--objects 24] [--only lopsided] [--levels 20]
                                                              against ngmix, object by object
    python scripts/bench.d/shear.py noisefree [--galaxies 320]
    python scripts/bench.d/shear.py noisy --s2n 20 [--galaxies 12000] [--cuts] [--seed 1]
    python scripts/bench.d/shear.py stars [--galaxies 320]

Pin one core and one thread (taskset -c 1, OMP_NUM_THREADS=1).  ngmix is compared with where it is
installed.  The biases are those of mean shears from galaxies in four twin scenes (shear + and -,
intrinsic shape turned by 90 degrees), the noisy ones also with the noise reversed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import importlib.util
import json
import multiprocessing
import resource
import time

import numpy as np
import scipy.fft

from shapepipe.shear import (
    SHEAR_TYPES,
    Batch,
    Settings,
    Shapes,
    calibrate,
    measure,
    measure_halves,
)
from shapepipe.shear.gaussian import constants, residual_moments
from shapepipe.simulate.stamps import StampSet, draw_stamps, noise_level

STEP = 0.01
BLOCK = 96


def main():
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "equality", "noisefree", "noisy", "stars"])
    parser.add_argument("--objects", type=int, default=96)
    parser.add_argument("--galaxies", type=int, default=320)
    parser.add_argument("--s2n", type=float, default=20.0)
    parser.add_argument("--shear", type=float, default=0.02)
    parser.add_argument("--galaxy", default="exponential")
    parser.add_argument("--sersic", type=float, nargs=2, default=(0.8, 3.0))
    parser.add_argument("--psf-g1", type=float, default=None)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--cuts", action="store_true")
    parser.add_argument("--single-noise", action="store_true", help="K = 1, no antithetic pair")
    parser.add_argument("--estimator", default="fit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases of equality whose name holds this")
    parser.add_argument("--levels", type=float, nargs="+", default=(20.0, 100.0), help="S/N")
    chosen = parser.parse_args()
    globals()[chosen.what](chosen)


def show(**figures):
    """Print one line of JSON."""
    print(json.dumps(figures, default=lambda x: round(float(x), 7)), flush=True)  # noqa: T201


def speed(chosen):
    """Native engine (pair and single noise, both precisions), its floor, and ngmix."""
    stamps = draw_stamps(StampSet(seed=5, count=chosen.objects))
    batch = noisy_batch(stamps, np.exp(np.random.default_rng(1).uniform(2.3, 4.6, chosen.objects)))
    variants = {
        "pair, single precision": Settings(),
        "one noise field, single precision": Settings(pair=False),
        "pair, double precision": Settings(precision="double"),
        "one noise field, double precision": Settings(pair=False, precision="double"),
    }
    found = {}
    for name, settings in variants.items():
        measure(batch, settings)
        found[name] = median_time(lambda s=settings: measure(batch, s)) / chosen.objects
        show(what=f"native, {name}", ms_per_object=1e3 * found[name])
    for pair in (True, False):
        settings = Settings(pair=pair)
        own, low = in_turn(lambda s=settings: measure(batch, s), floor(batch, pair))
        ratio = np.median(own / low)
        low = np.median(low) / chosen.objects
        show(what=f"floor, pair {pair}", ms_per_object=1e3 * low, ratio=ratio)
    for epochs in (1, 3, 6):
        more = noisy_batch(draw_stamps(StampSet(seed=5, count=32, epochs=epochs)), 30.0)
        measure(more)
        show(what=f"native, {epochs} epochs", ms=1e3 * median_time(lambda b=more: measure(b)) / 32)
    for objects in (640, 3840):
        show(what="peak memory, 128 objects at a time", objects=objects, MB=peak_of_new(objects))
    engine = ngmix_engine()
    if engine is None:
        return
    few = batch.part(0, min(12, chosen.objects))
    usual = {"settings": Settings(pair=False), "tolerance": 5e-5}
    engine.measure(few, **usual)
    theirs = median_time(lambda: engine.measure(few, **usual), 3) / len(few)
    again = median_time(lambda: measure(batch)) / chosen.objects
    show(what="ngmix fitgauss, tolerance 5e-5", ms_per_object=1e3 * theirs)
    show(what="ratio to ngmix, pair", ratio=theirs / again)
    show(
        what="ratio to ngmix, one noise field",
        ratio=theirs / found["one noise field, single precision"],
    )


def floor(batch, pair):
    """A function that does the transforms and the pixel passes that cannot be avoided.

    Per epoch one complex transform forward, five back and a real one for the PSF, with their
    zero rows left out, and for each object one pass per epoch for every evaluation of the fit.
    """
    n = len(batch.image)
    rng = np.random.default_rng(1)
    stamps = rng.normal(size=(8, 51, 64)).astype(np.complex64)
    fields = rng.normal(size=(8, 5, 64, 64)).astype(np.complex64)
    psf = rng.normal(size=(8, 64, 64)).astype(np.float32)

    def work_through():
        for _ in range(n // 8):
            scipy.fft.fft(scipy.fft.fft(stamps, axis=-1), n=64, axis=-2)
            scipy.fft.fft(scipy.fft.rfft(psf, axis=-1)[:, :, :32], axis=-2)
            scipy.fft.ifft(scipy.fft.ifft(fields, axis=-2)[:, :, :51], axis=-1)
        for _ in range(passes):
            residual_moments(data, data, 0.0, data, shape, 1.0, table, *work)

    passes = int(measure(batch, Settings(pair=pair)).passes.sum() * n / len(batch))
    data = rng.normal(size=(51, 51)).astype(np.float32)
    shape = np.array([0.12, 0.0, 0.12, 25.0, 25.0])  # T = 0.58 arcsec^2, PSF included
    table, work = constants(np.float32, 51), (np.empty(15), np.empty(15), np.empty(5))
    work_through()
    return work_through


def equality(chosen):
    """Differences to ngmix with a tight tolerance on the same stamps and noise fields."""
    engine = ngmix_engine()
    if engine is None:
        raise SystemExit("ngmix is not installed")
    base = StampSet(seed=5, count=chosen.objects)
    cases = {
        "Moffat, exponential": (base, {}),
        "lopsided PSF, Sersic": (base.twin(psf="lopsided", galaxy="sersic"), {}),
        "rotated and sheared Jacobian": (base.twin(distortion=20.0), {}),
        "unequal epochs": (base, {"spread": (0.7, 1.0, 1.6)}),
        "masked pixels": (base, {"masked": True}),
    }
    chosen_cases = {name: case for name, case in cases.items() if chosen.only in name}
    for s2n in chosen.levels:
        for name, (wanted, more) in chosen_cases.items():
            batch = noisy_batch(draw_stamps(wanted), s2n, own_noise=True, **more)
            theirs = engine.measure(batch, Settings(pair=False), tolerance=1e-11)
            for precision in ("single", "double"):
                ours = measure(batch, Settings(pair=False, precision=precision))
                show(what=name, s2n=s2n, precision=precision, **differences(ours, theirs))


def differences(ours, theirs):
    """Figures of agreement over objects that both measured, in the same optimum of the fit.

    Galaxies that seeing hides (T near 0) may have two optima, of either sign of T, at low
    signal-to-noise ratio; which of them ngmix finds follows from its random guess, type by type.
    """
    found = ours.good & theirs.good
    with np.errstate(invalid="ignore"):
        apart = np.maximum(abs(ours.g1 - theirs.g1), abs(ours.g2 - theirs.g2)).max(axis=1)
        other = found & (apart > 1e-2) & ((ours.T * theirs.T) < 0).any(axis=1)
    both = found & ~other
    dg = np.stack([(getattr(ours, g) - getattr(theirs, g))[both] for g in ("g1", "g2")])
    trace = [(s.g1[:, 1] - s.g1[:, 2] + s.g2[:, 3] - s.g2[:, 4])[both] for s in (ours, theirs)]
    excess = (trace[0] - trace[1]) / trace[1].mean()
    relative = {
        q: abs(getattr(ours, q) / getattr(theirs, q) - 1)[both].max() for q in ("flux", "s2n")
    }
    size = (abs(ours.T - theirs.T) / (abs(theirs.T) + theirs.T_psf[:, None]))[both].max()
    return {
        "n": int(both.sum()),
        "failed": [int((~s.good).sum()) for s in (ours, theirs)],
        "other_optimum": int(other.sum()),
        "rms_dg": {t: np.sqrt((dg[:, :, i] ** 2).mean()) for i, t in enumerate(SHEAR_TYPES)},
        "max_dg": abs(dg).max(),
        "dR_over_R": excess.mean(),
        "sigma_dR": excess.std() / np.sqrt(max(both.sum() - 1, 1)),
        "max_dT": size,
        "max_dflux": relative["flux"],
        "max_ds2n": relative["s2n"],
    }


def noisefree(chosen):
    """m and c without noise."""
    settings = Settings(fixnoise=False, estimator=chosen.estimator, target=target_of(chosen))
    sums = {(c, s): [] for c in (0, 1) for s in (1, -1)}
    flagged = 0
    for block, component in blocks(chosen.galaxies):
        for sign, turn in twins():
            shapes = measure(
                noisy_batch(scene(chosen, block, component, sign, turn), 1e5, 0), settings
            )
            flagged += (~shapes.good).sum()
            sums[component, sign].append(calibrate.group_sums(tables(shapes), None, BLOCK))
    report(chosen, sums, flagged, settings)


def noisy(chosen):
    """m and c with noise, all galaxies and, with --cuts, those that pass cuts on each half."""
    settings = Settings(
        pair=not chosen.single_noise, estimator=chosen.estimator, target=target_of(chosen)
    )
    selections = {"all": None, "s2n > 10, T / Tpsf > 0.5": calibrate.cut(10.0, 0.5)}
    selections = selections if chosen.cuts else {"all": None}
    sums = {n: {(c, s): [] for c in (0, 1) for s in (1, -1)} for n in selections}
    flagged = 0
    for block, component in blocks(chosen.galaxies):
        level = None
        for sign, turn in twins():
            stamps = scene(chosen, block, component, sign, turn)
            level = noise_level(stamps["image"], chosen.s2n) if level is None else level
            for reverse in (1, -1):
                batch = noisy_batch(stamps, None, 1000 * chosen.seed + block, level, reverse)
                halves = (
                    measure_halves(batch, settings) if settings.pair else [measure(batch, settings)]
                )
                flagged += sum((~half.good).sum() for half in halves)
                for name, selection in selections.items():
                    parts = [calibrate.group_sums(tables(h), selection, BLOCK) for h in halves]
                    sums[name][component, sign].append(np.sum(parts, axis=0))
    for name in selections:
        report(chosen, sums[name], flagged, settings, selection=name)


def stars(chosen):
    """Response of point sources, with errors from the scatter of the stars."""
    wanted = StampSet(seed=3, count=chosen.galaxies, galaxy="star", epochs=chosen.epochs)
    stamps = draw_stamps(wanted)
    for s2n in (50.0, 200.0):
        shapes = measure(noisy_batch(stamps, s2n))
        sums = calibrate.group_sums(tables(shapes), None, 100)

        def response(part):
            return calibrate.solve(part, STEP)[1].ravel()

        show(
            what="stars",
            stars=chosen.galaxies,
            s2n=s2n,
            R=list(response(sums.sum(axis=0))),
            sigma_R=list(np.sqrt(np.diag(calibrate.covariance_of(response, sums)))),
            failed=int((~shapes.good).sum()),
        )


def report(chosen, sums, flagged, settings, **more):
    """m, c and the response from the sums over scenes; errors from the galaxies' scatter."""
    scenes = 4 if chosen.what == "noisy" else 2  # turned or not, noise reversed or not
    stacked = {key: merged(parts, scenes) for key, parts in sums.items()}

    def estimate(both):
        m, c, responses = [], [], []
        for component in (0, 1):
            plus, minus = both[2 * component], both[2 * component + 1]
            mean = calibrate.solve(plus + minus, STEP)
            total = (mean[1] + mean[2])[component, component]
            raw = [calibrate.solve(part, STEP)[3] for part in (plus, minus)]
            m.append((raw[0] - raw[1])[component] / (2 * chosen.shear * total) - 1)
            c.append((raw[0] + raw[1]) / 2 / total)
            responses.append(total)
        return np.array([np.mean(m), *np.mean(c, axis=0), np.mean(responses)])

    groups = np.stack([stacked[c, s] for c in (0, 1) for s in (1, -1)], axis=1)
    value = estimate(groups.sum(axis=0))
    error = np.sqrt(np.diag(calibrate.covariance_of(estimate, thinned(groups))))
    kept = stacked[0, 1][:, 0].sum() / len(stacked[0, 1]) / scenes
    show(
        what=chosen.what,
        galaxy=chosen.galaxy,
        sersic=list(chosen.sersic) if chosen.galaxy == "sersic" else None,
        galaxies=chosen.galaxies,
        s2n=chosen.s2n if chosen.what == "noisy" else None,
        estimator=settings.estimator,
        pair=settings.pair,
        shear=chosen.shear,
        psf_g1=chosen.psf_g1,
        m=value[0],
        sigma_m=error[0],
        m_minus_second_order=value[0] - 0.92 * chosen.shear**2,
        c1=value[1],
        c2=value[2],
        sigma_c=error[1],
        R=value[3],
        kept=kept / len(settings.signs if chosen.what == "noisy" else (1,)),
        failed=int(flagged),
        **more,
    )


def thinned(groups, most=200):
    """At most `most` groups for the jackknife."""
    label = np.arange(len(groups)) * most // len(groups) if len(groups) > most else None
    if label is None:
        return groups
    out = np.zeros((most, *groups.shape[1:]))
    np.add.at(out, label, groups)
    return out


def merged(parts, scenes):
    """Sums of each galaxy over the scenes that follow each other."""
    return np.concatenate(
        [np.sum(parts[i : i + scenes], axis=0) for i in range(0, len(parts), scenes)]
    )


def blocks(galaxies):
    """Numbers of the blocks of galaxies, with the component that is sheared."""
    for block in range(2 * -(-galaxies // (2 * BLOCK))):
        yield block, block % 2


def twins():
    """Sign of the shear and orientation of the four scenes."""
    return ((sign, turn) for sign in (1, -1) for turn in (False, True))


def scene(chosen, block, component, sign, turn):
    """Noise-free stamps of one block of galaxies."""
    shear = [0.0, 0.0]
    shear[component] = sign * chosen.shear
    return draw_stamps(
        StampSet(
            seed=100003 * chosen.seed + block,
            count=BLOCK,
            epochs=chosen.epochs,
            galaxy=chosen.galaxy,
            sersic=tuple(chosen.sersic),
            psf_shape=None if chosen.psf_g1 is None else (chosen.psf_g1, 0.0),
            shear=tuple(shear),
            turn=turn,
        )
    )


def target_of(chosen):
    """Moments need one target for all epochs of an object."""
    return "epoch" if chosen.estimator == "fit" else "object"


def tables(shapes):
    """Tables of all shear types."""
    return {kind: shapes.columns(kind) for kind in SHEAR_TYPES}


def noisy_batch(
    stamps, s2n, seed=1, level=None, reverse=1, own_noise=False, spread=(1.0,), masked=False
):
    """Stamps with noise (seed 0: none added) in single precision.

    The seed is the declination too, so that no two sets share the engine's noise fields.
    """
    image = stamps["image"]
    level = noise_level(image, s2n) if level is None else level
    sigma = np.broadcast_to((level[:, None] * np.asarray(spread))[:, :, None, None], image.shape)
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=image.shape) * sigma * reverse if seed else 0.0
    weight = 1 / sigma**2
    if masked:
        bad = rng.uniform(size=image.shape) < 0.003
        bad[:, 1, :, 10] = True
        weight = np.where(bad, 0, weight)
    fixnoise = (rng.normal(size=image.shape) * sigma).astype(np.float32) if own_noise else None
    parts = ((image + noise).astype(np.float32), weight.astype(np.float32))
    psf = stamps["psf"].astype(np.float32)
    places = {"ra": np.arange(len(image)) / 3600, "dec": np.full(len(image), 1e-3 * seed)}
    return Batch.regular(
        *parts, psf, stamps["jacobian"], stamps["centre"], noise=fixnoise, **places
    )


def repeated(batch, times):
    """The same objects many times over."""
    parts = [
        np.tile(a, (times,) + (1,) * (a.ndim - 1))
        for a in (batch.image, batch.weight, batch.psf, batch.jacobian, batch.centre)
    ]
    count = len(batch) * times
    offsets = np.arange(count + 1) * (batch.offsets[-1] // len(batch))
    more = (np.tile(batch.ra, times), np.tile(batch.dec, times), np.tile(batch.epoch, times))
    return Batch(*parts, offsets, *more)


def peak_of_new(objects):
    """Peak memory (MB) of a new process that measures this many objects."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(peak_here, objects).result()


def peak_here(objects):
    """What `peak_of_new` measures, in this process; the results are kept as a runner does."""
    some = repeated(noisy_batch(draw_stamps(StampSet(seed=5, count=32)), 30.0), 4)
    found = [measure(some) for _ in range(objects // len(some))]
    Shapes.joined(found)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_turn(one, other, rounds=9):
    """CPU seconds of two functions that are called in turn, so that both see the same machine."""
    times = np.empty((2, rounds))
    for i in range(rounds):
        for k, function in enumerate((one, other)):
            start = time.process_time()
            function()
            times[k, i] = time.process_time() - start
    return times


def median_time(function, repeats=7):
    """Median CPU seconds of several calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def ngmix_engine():
    """The comparison, where ngmix is installed."""
    if importlib.util.find_spec("ngmix") is None:
        return None
    return importlib.import_module("shapepipe.shear.ngmix_engine")


if __name__ == "__main__":
    main()
