"""Exposures, CCDs and tiles of a survey to simulate, and its star catalogues.

Algorithm
---------
Pointings, seeing, distortion and zero points of the exposures are drawn, each from a random
stream of its own; stars brighter than the limit are listed.

References
----------
Gwyn 2008, PASP 120, 212 (names of exposures and stacks).
"""

import json

from shapepipe import Output, runner
from shapepipe.simulate.chain import SurveyOptions, lay_out
from shapepipe.simulate.exposures import make_camera, plan_exposures
from shapepipe.simulate.run import frames_of, write_lists


@runner(
    outputs=[
        Output("units", many=True, doc="What the later steps draw: ccd, exposure and tile files."),
        Output("lists", many=True, doc="Star catalogues, options, numbers of tiles."),
    ],
    scope="all",
    packages=["galsim"],
)
def simulate_plan_runner(job, opts: SurveyOptions):
    """List what is to be drawn, and write what is known before."""
    survey = opts.read()
    camera = make_camera(survey.camera)
    exposures = plan_exposures(survey, camera)
    frames = frames_of(camera, exposures)
    for i, exposure in enumerate(exposures):
        _write_unit(job, f"exposure-{exposure.number}", {"exposure": i})
        for ccd in range(len(camera.chips)):
            _write_unit(job, f"ccd-{exposure.number}-{ccd}", {"exposure": i, "ccd": ccd})
    for tile in survey.survey.tiles if survey.stack.make else ():
        _write_unit(job, f"tile-{tile.replace('.', '-')}", {"tile": tile})
    write_lists(survey, frames, job.scratch / "lists")
    for path in sorted((job.scratch / "lists").rglob("*.*")):
        place = path.relative_to(job.scratch / "lists")
        if opts.folder:
            lay_out(path, opts.folder / place)
        target = job.output("lists", name=str(place))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return {"n_exposures": len(exposures), "n_ccds": len(frames)}


def _write_unit(job, name, content):
    path = job.output("units", name=f"{name}.json")
    path.write_text(json.dumps(content) + "\n", encoding="ascii")
