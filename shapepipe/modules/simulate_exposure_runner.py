"""Mosaics of a simulated exposure, made of its CCDs, and the table of its sources.

Algorithm
---------
The CCDs of an exposure become HDUs of mosaics of image, weight and flag; headers say pointing,
time, zero point and distortion (TPV).

References
----------
Calabretta & Greisen 2002, A&A 395, 1077 (celestial coordinates).
"""

import numpy as np

from shapepipe import Input, Output, runner
from shapepipe.simulate import mosaic, truth
from shapepipe.simulate.chain import SurveyOptions, finder, lay_out, read_unit
from shapepipe.simulate.exposures import draw_exposure, make_camera
from shapepipe.simulate.run import exposure_cards, join_exposure, mosaic_paths


def _extension(opts):
    return opts.read().files.extension


@runner(
    inputs=[
        Input("exposure", ext=".json", doc="Which exposure."),
        *(Input(kind, gather=True, doc="All CCDs.") for kind in mosaic.KINDS),
        Input("truth", ext=".npy", gather=True, doc="Sources on the CCDs."),
    ],
    outputs=[
        *(Output(kind, ext=_extension, doc="All CCDs, an HDU each.") for kind in mosaic.KINDS),
        Output("epochs", doc="A row for each source on each CCD."),
    ],
    after=["simulate_plan_runner", "simulate_ccd_runner"],
    numbering="-0000000",
)
def simulate_exposure_runner(job, opts: SurveyOptions):
    """Join the CCDs of one exposure."""
    survey = opts.read()
    (i,) = read_unit(job.inputs["exposure"], "exposure")
    camera = make_camera(survey.camera)
    exposure, ccds = draw_exposure(survey, camera, i), range(len(camera.chips))
    find = finder(job.inputs)
    truths = [np.load(find("truth", exposure.number, ccd)) for ccd in ccds]
    products = {kind: job.output(kind) for kind in mosaic.KINDS}
    join_exposure(products, exposure_cards(survey, camera, exposure), exposure, ccds, find)
    truth.write_epochs(job.output("epochs"), truths, ccds)
    if opts.folder:
        named = mosaic_paths(survey, opts.folder / "exposures", exposure.number)
        for kind, path in products.items():
            lay_out(path, named[kind])
        lay_out(job.output("epochs"), opts.folder / "truth" / f"epochs-{exposure.number}.fits")
    return {"n_sources": sum(map(len, truths))}
