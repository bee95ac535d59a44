"""Shear bias of the whole chain, from simulated exposures to the final catalogue.

    python scripts/bench.d/shear_bias.py run FOLDER [--seeds 1 2] [--survey simulate_bias.ini]
    python scripts/bench.d/shear_bias.py report FOLDER [--cuts] [--plot shear_bias.png]

Each seed is a sky drawn in eight scenes: shear + and -, intrinsic shapes as they are and turned by
90 degrees, noise as it is and reversed. Each scene is a survey that runs through the chain of
quickstart_full.ini; then the shapes are measured once more with the true PSFs instead of
the models, which tells a bias of the PSF from one of the stamps and fits. FOLDER keeps a small
table of each scene, and finished scenes are not drawn again. `report` prints one line of JSON for
each figure (`--keep` adds it to shear_bias.jsonl).

Not all scenes are needed. Between 0 and 1, and between 4 and 6, the shear alone changes: they tell
m. In 0, 3, 4 and 5 shapes and noise cancel in the mean: they tell c (`--scenes-of-c`). Scenes 0 to
3 tell both, with noise that cancels in part.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from figures import record
from scipy.spatial import cKDTree

from shapepipe.astro import epochs, ldac, stampstore
from shapepipe.modules.ngmix_runner import ngmix_runner
from shapepipe.shear import SHEAR_TYPES, bias, calibrate
from shapepipe.shear.halves import HALF_COLUMNS
from shapepipe.simulate import Survey, read_survey, simulate_survey
from shapepipe.simulate.astrometry import jacobians, to_plane
from shapepipe.simulate.draw import draw_psfs
from shapepipe.simulate.sky import GALAXY
from shapepipe.testing import trial

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

CONFIG = Path(__file__).parents[2] / "example" / "config"
# sign of the shear, shapes turned, noise reversed
SCENES = ((1, False, False), (-1, False, False), (1, True, True), (-1, True, True),
          (1, False, True), (-1, True, False), (-1, False, True), (1, True, False))  # fmt: skip
REACH = 1.0  # arcsec between an object and its truth
PATCH = 2.0  # arcmin, side of the patches that are left out for errors
KEPT = ("g1", "g2", "T", "Tpsf", "s2n", "flags", "T_psfo_ngmix", "g1_psfo_ngmix", "g2_psfo_ngmix")
KEPT += tuple(f"{name}_{half}" for half in "ab" for name in HALF_COLUMNS)
SEXTRACTOR = ("FLAGS", "IMAFLAGS_ISO", "N_EPOCH", "SPREAD_CLASS", "MAG_AUTO")


def main():
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--survey", type=Path, default=CONFIG / "simulate_bias.ini")
    parser.add_argument("--config", type=Path, default=CONFIG / "quickstart_full.ini")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--scenes", type=int, nargs="+", default=[*range(len(SCENES))])
    parser.add_argument("--scenes-of-c", type=int, nargs="+", help="report c of these instead")
    parser.add_argument("--option", action="append", default=[], metavar="SECTION:KEY=VALUE")
    parser.add_argument("--no-true-psfs", action="store_true", help="measure with models only")
    parser.add_argument("--files", action="store_true", help="leave the files of the chain")
    parser.add_argument("--keep", action="store_true", help="add the figures to shear_bias.jsonl")
    parser.add_argument("--cuts", action="store_true", help="all objects behind usual cuts")
    parser.add_argument("--plot", type=Path, help="picture to make")
    chosen = parser.parse_args()
    {"run": run, "report": report}[chosen.what](chosen)


def run(chosen):
    """Draw and measure all scenes that are not there yet."""
    for seed in chosen.seeds:
        for k in chosen.scenes:
            target = chosen.folder / f"scene-{seed}-{k}.fits"
            if not target.exists():
                work = chosen.folder / f"work-{seed}-{k}"
                survey = scene_of(read_survey(chosen.survey), seed, *SCENES[k])
                run_chain(survey, chosen, work)
                summarise(work, survey, not chosen.no_true_psfs).write(target)
                if not chosen.files:
                    shutil.rmtree(work)


def scene_of(survey: Survey, seed: int, sign: int, turned: bool, backwards: bool) -> Survey:
    """One of the twins of a survey."""
    galaxies, changes = survey.galaxies, {"turn": turned}
    changes |= {"g1": sign * galaxies.g1, "g2": sign * galaxies.g2}
    law = "reversed" if backwards else "normal"
    return Survey(
        **{name: getattr(survey, name) for name in ("camera", "exposures", "sky", "psf", "stars",
                                                    "files", "stack")},
        survey=survey.survey.model_copy(update={"seed": seed}),
        galaxies=galaxies.model_copy(update=changes),
        detector=survey.detector.model_copy(update={"noise_law": law}),
    )  # fmt: skip


def run_chain(survey, chosen, work):
    """Draw a survey and run the chain on it, with the geometry of its camera."""
    simulate_survey(survey, work / "input")
    (work / "output").mkdir(exist_ok=True)
    camera = survey.camera
    changes = {
        "JOB:SMP_BATCH_SIZE": 1,
        "SPLIT_EXP_RUNNER:N_HDU": camera.columns * camera.rows,
        "SEXTRACTOR_RUNNER_RUN_2:CCD_SIZE": f"0, {camera.width - 1}, 0, {camera.height - 1}",
    }
    command = [sys.executable, "-m", "shapepipe", "run", "-c", str(chosen.config)]
    for change in [*(f"{name}={value}" for name, value in changes.items()), *chosen.option]:
        command += ["-o", change]
    surroundings = os.environ | {"SP_RUN": str(work.absolute()), "SP_CONFIG": str(CONFIG)}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{work}: the chain failed\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def summarise(work, survey, true_psfs=True) -> Table:
    """One row for each object of the final catalogue: truth, and shapes with both kinds of PSF."""
    steps = next(path for path in (work / "output").iterdir() if path.is_dir())
    catalogue = Table(fits.getdata(next(steps.glob("make_cat_runner/output/*.fits")), 1))
    truth = Table.read(work / "input" / "truth" / "objects.fits")
    centre = float(np.median(truth["ra"])), float(np.median(truth["dec"]))
    place = np.column_stack(to_plane(catalogue["XWIN_WORLD"], catalogue["YWIN_WORLD"], *centre))
    true = np.column_stack(to_plane(truth["ra"], truth["dec"], *centre))
    away, which = cKDTree(true).query(place)
    made = catalogue[[*SEXTRACTOR]]
    for name in ("id", "kind", "mag", "sersic", "r50", "e1", "e2"):
        made[name] = truth[name][which]
    made["away"] = away * 3600.0
    made["x"], made["y"] = 60.0 * place.T
    shapes = {"model": next(steps.glob("ngmix_runner/output/ngmix*.fits"))}
    if true_psfs:
        shapes["true"] = measure_with_true_psfs(work, steps, catalogue, truth["id"][which])
    for source, path in shapes.items():
        for kind in SHEAR_TYPES:
            table = ldac.read(path, hdu=kind.upper())
            for name in KEPT:
                made[f"{source}_{kind}_{name}"] = table[name]
    made.meta |= {"G1": survey.galaxies.g1, "G2": survey.galaxies.g2}
    made.meta |= {"DRAWN": len(truth), "GALAXIES": int((truth["kind"] == GALAXY).sum())}
    return made


def measure_with_true_psfs(work, steps, catalogue, ids) -> Path:
    """Measure all shapes again, with the PSFs that were drawn."""
    log = next(steps.glob("merge_headers_runner/output/*.sqlite"))
    modelled = next(steps.glob("psf_interp_runner_run_2/output/*.sqlite"))
    store = work / "true_psf.sqlite"
    write_true_psfs(work / "input" / "truth", log, modelled, ids, store)
    stamps = steps / "vignetmaker_runner_run_2" / "output"
    inputs = {role: next(stamps.glob(f"{role}_vignet*")) for role in
              ("image", "background", "weight", "flag")}  # fmt: skip
    inputs["catalogue"] = next(steps.glob("sextractor_runner_run_2/output/sexcat*.fits"))
    outcome = trial(ngmix_runner, inputs | {"psf": store}, {"LOG_WCS": str(log)}, "-0-0", work)
    if outcome.status != "ok":
        sys.exit(f"{work}: {outcome.error}")
    return outcome.products[0]


def write_true_psfs(folder, log, modelled, ids, target):
    """Write the drawn PSFs at the epochs of a store of models; an object is its nearest source."""
    exposures = Table.read(folder / "exposures.fits")
    profile, beta = str(exposures["psf_profile"][0]), float(exposures["psf_beta"][0])
    labels, rows, solutions = {}, {}, {}
    for path in sorted(folder.glob("epochs-*.fits")):
        name = path.stem.partition("-")[2]
        table = Table.read(path)
        solutions |= epochs.read_wcs(log, [name])
        for ccd in np.unique(table["ccd"]):
            here = table[table["ccd"] == ccd].as_array()
            label = f"{name}-{ccd}"
            labels[label] = {number: row for row, number in enumerate(here["id"])}
            rows[label] = here
    size = None
    target.unlink(missing_ok=True)
    with stampstore.StampWriter(target) as writer:
        for number, (key, entry) in zip(ids, stampstore.read_stamps(modelled), strict=True):
            made = {}
            for label, value in entry.items():
                if number not in labels[label]:
                    continue
                size = size or len(value["VIGNET"])
                row = rows[label][[labels[label][number]]]
                exposure, _, ccd = label.rpartition("-")
                scale = jacobians(solutions[exposure][int(ccd)], row["x"], row["y"])
                made[label] = {"VIGNET": draw_psfs(row, scale, profile, beta, size)[0]}
            writer.add([(key, made)])


def report(chosen):
    """Print bias and its errors for all scenes of a folder; without --cuts no selection acts."""
    skies = read_skies(chosen.folder, chosen.scenes)
    others = read_skies(chosen.folder, chosen.scenes_of_c) if chosen.scenes_of_c else skies
    print_figures(chosen, "objects", count_objects(skies))
    sources = sources_of(skies)
    for source in sources:
        if chosen.cuts:
            recipes = {"s2n > 10, T/Tpsf > 0.5": True, "the same, FLAGS = 0": False}
            for name, blends in recipes.items():
                found = figures_of(behind_cuts(skies, source, blends))
                print_figures(chosen, name, {"psf": source} | found)
            continue
        found = figures_of(isolated(skies, source), isolated(others, source))
        print_figures(chosen, "galaxies found in all scenes", {"psf": source} | found)
    if "true" in sources:
        print_figures(chosen, "PSF at the galaxies, model against truth", psf_residuals(skies))
    if chosen.plot:
        draw(skies, others, chosen)


def print_figures(chosen, what, numbers):
    """Print a line of rounded numbers; keep it if so asked."""
    rounded = {name: value if isinstance(value, str) else np.round(value, 7).tolist()
               for name, value in numbers.items()}  # fmt: skip
    record({"what": what, "scenes_of_m": chosen.scenes} | rounded, chosen.keep)


def read_skies(folder, scenes) -> list[list[Table]]:
    """Tables of some scenes, seed by seed; seeds that lack one are left out."""
    names = sorted(folder.glob("scene-*-0.fits"), key=lambda path: int(path.stem.split("-")[1]))
    found = [[path.with_name(f"{path.stem[:-1]}{k}.fits") for k in scenes] for path in names]
    return [[read_scene(path) for path in paths] for paths in found
            if all(path.exists() for path in paths)]  # fmt: skip


def sources_of(skies):
    """Kinds of PSF with which the shapes were measured."""
    return [name for name in ("model", "true") if f"{name}_noshear_g1" in skies[0][0].colnames]


def read_scene(path) -> Table:
    """Table of one scene, failed shapes as NaN."""
    return Table(fits.getdata(path, 1), meta=dict(fits.getheader(path, 1)))


def tables_of(scene, source, chosen):
    """Tables of the shear types of some objects, as `calibrate` takes them."""
    return {
        kind: {name: np.asarray(scene[f"{source}_{kind}_{name}"])[chosen] for name in KEPT}
        for kind in SHEAR_TYPES
    }


def usable(scene, source):
    """Objects without failure in any type."""
    flags = [scene[f"{source}_{kind}_flags"] for kind in SHEAR_TYPES]
    return np.bitwise_or.reduce(np.array(flags), axis=0) == 0


def find_isolated(scenes, source) -> list[np.ndarray]:
    """Rows of the galaxies that all scenes of a sky found and measured, in the same order."""
    rows = []
    for scene in scenes:
        good = usable(scene, source) & (scene["kind"] == GALAXY) & (scene["away"] < REACH)
        order = np.flatnonzero(good)
        order = order[np.argsort(scene["away"][order], kind="stable")]
        rows.append(dict(zip(scene["id"][order][::-1], order[::-1], strict=True)))
    common = sorted(set.intersection(*(set(some) for some in rows)))
    return [np.array([some[number] for number in common]) for some in rows]


def isolated(skies, source, keep=lambda scene, rows: rows == rows):
    """Sums over patches of galaxies found in all scenes, true shears, number of galaxies."""
    parts, count = [], 0
    for scenes in skies:
        rows = find_isolated(scenes, source)
        kept = keep(scenes[0], rows[0])
        rows = [some[kept] for some in rows]
        patch, n = patches(scenes[0]["x"][rows[0]], scenes[0]["y"][rows[0]])
        count += len(patch)
        parts.append(
            [bias.scene_sums(tables_of(scene, source, some), patch, n)
             for scene, some in zip(scenes, rows, strict=True)]
        )  # fmt: skip
    return joined(parts), shears(skies), count


def behind_cuts(skies, source, blends):
    """Sums over patches of all objects behind cuts, whatever they are."""
    parts, count = [], 0
    for scenes in skies:
        made = []
        for scene in scenes:
            rows = np.flatnonzero((scene["IMAFLAGS_ISO"] == 0) & (blends | (scene["FLAGS"] == 0)))
            patch, n = patches(scene["x"][rows], scene["y"][rows])
            tables = tables_of(scene, source, rows)
            made.append(bias.scene_sums(tables, patch, n, calibrate.cut(s2n=10, size_ratio=0.5)))
        count += sum(some[:, 0].sum() for some in made) / len(made)
        parts.append(made)
    return joined(parts), shears(skies), round(count)


def patches(x, y, edge=12.0):
    """Patch of each position (arcmin from the centre), and their number."""
    n = int(2 * edge / PATCH)
    i, j = (np.clip(np.floor((axis + edge) / PATCH).astype(int), 0, n - 1) for axis in (x, y))
    return np.asarray(i * n + j), n * n


def joined(parts):
    """Patches of all skies that have objects in all scenes, (K, S, 23)."""
    sums = np.concatenate([np.stack(made, axis=1) for made in parts])
    return sums[(sums[:, :, 0] > 0).any(axis=1)]


def shears(skies):
    """True shear of each scene."""
    return np.array([[scene.meta["G1"], scene.meta["G2"]] for scene in skies[0]])


def bias_of(found, other=None):
    """Bias of some scenes, with c of others where they are given."""
    made = bias.shear_bias(*found[:2])
    if other is None:
        return made
    second = bias.shear_bias(*other[:2])
    return made._replace(c=second.c, c_error=second.c_error)


def figures_of(found, other=None):
    """What is printed of a bias."""
    sums, _, count = found
    made = bias_of(found, other)
    return {
        "galaxies": count, "patches": len(sums), "m": made.mean_m, "m_error": made.mean_m_error,
        "m12": made.m, "m12_error": made.m_error, "c12": made.c, "c12_error": made.c_error,
        "R": np.diag(made.response),
    }  # fmt: skip


def count_objects(skies):
    """How many were drawn, found, and measured."""
    scenes = [scene for scenes in skies for scene in scenes]
    galaxies = vstack([scene[scene["kind"] == GALAXY] for scene in scenes],
                      metadata_conflicts="silent")  # fmt: skip
    s2n = galaxies["model_noshear_s2n"][galaxies["model_noshear_flags"] == 0]
    size = galaxies["model_noshear_T"] / galaxies["model_noshear_Tpsf"]
    return {
        "skies": len(skies), "scenes": len(scenes),
        "in_catalogue": sum(len(scene) for scene in scenes),
        "s2n_percentiles_5_50_95": np.percentile(s2n, [5, 50, 95]),
        "T_over_Tpsf_percentiles_5_50_95": np.nanpercentile(size, [5, 50, 95]),
    }  # fmt: skip


def psf_residuals(skies):
    """Size and shape of the models at the galaxies, against the PSFs that were drawn."""
    made = []
    for scenes in skies:
        for scene, rows in zip(scenes, find_isolated(scenes, "true"), strict=True):
            part = scene[rows]
            names = ("T_psfo_ngmix", "g1_psfo_ngmix", "g2_psfo_ngmix")
            model, true = (
                np.array([part[f"{source}_noshear_{name}"] for name in names])
                for source in ("model", "true")
            )
            good = np.isfinite(model).all(axis=0) & np.isfinite(true).all(axis=0)
            made.append(
                np.array([model[0] / true[0] - 1, *(model[1:] - true[1:]), *true[1:]])[:, good]
            )
    made = np.concatenate(made, axis=1)
    return {"dT_over_T": made[0].mean(), "scatter": made[0].std(),
            "dg12": made[1:3].mean(axis=1), "g12": made[3:].mean(axis=1)}  # fmt: skip


def draw(skies, others, chosen):
    """Draw m and c with both kinds of PSF; of isolated galaxies, m by their true size as well."""
    kinds = {"model": "PSF models", "true": "true PSFs"}
    columns = 2 if chosen.cuts else 3
    figure, axes = plt.subplots(1, columns, figsize=(3.6 * columns, 3.4), constrained_layout=True)
    for k, source in enumerate(sources_of(skies)):
        style = {"fmt": "o", "color": f"C{k}", "capsize": 3, "label": kinds[source]}
        if chosen.cuts:
            made = bias_of(behind_cuts(skies, source, True))
        else:
            made = bias_of(isolated(skies, source), isolated(others, source))
        m, m_error = [*made.m, made.mean_m], [*made.m_error, made.mean_m_error]
        axes[0].errorbar(
            np.arange(3) + 0.1 * k, np.array(m) * 1e3, np.array(m_error) * 1e3, **style
        )
        axes[1].errorbar(np.arange(2) + 0.1 * k, made.c * 1e4, made.c_error * 1e4, **style)
        if not chosen.cuts:
            radii, m, m_error = by_size(skies, source)
            axes[2].errorbar(radii + 0.003 * k, m * 1e3, m_error * 1e3, **style)
    axes[0].set(ylabel="m [10$^{-3}$]", xlim=(-0.5, 2.6))
    axes[0].set_xticks(range(3), ["m1", "m2", "mean"])
    axes[1].set(ylabel="c [10$^{-4}$]", xlim=(-0.5, 1.6))
    axes[1].set_xticks(range(2), ["c1", "c2"])
    if not chosen.cuts:
        axes[2].set(ylabel="mean m [10$^{-3}$]", xlabel="true half-light radius [arcsec]")
    for axis in axes:
        axis.axhline(0.0, color="0.5", lw=0.8)
        if not chosen.cuts:
            axis.axhspan(-2, 2, color="0.92", zorder=0)
        axis.legend(fontsize=7)
    figure.savefig(chosen.plot, dpi=110)
    plt.close(figure)


def by_size(skies, source, bins=4):
    """Median radius, m and its error of galaxies in bins of true size with the same number each."""
    radii = np.concatenate([scenes[0]["r50"][find_isolated(scenes, source)[0]] for scenes in skies])
    edges = np.quantile(radii, np.linspace(0, 1, bins + 1))
    made = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        found = isolated(skies, source, lambda scene, rows, low=low, high=high:
                         (scene["r50"][rows] >= low) & (scene["r50"][rows] <= high))  # fmt: skip
        one = bias.shear_bias(*found[:2])
        within = radii[(radii >= low) & (radii <= high)]
        made.append((np.median(within), one.mean_m, one.mean_m_error))
    return np.array(made).T


if __name__ == "__main__":
    main()
