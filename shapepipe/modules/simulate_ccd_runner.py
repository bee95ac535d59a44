"""One CCD of a simulated exposure: image, weight, flags, and the truth about them.

Algorithm
---------
Every source is drawn at its place on the CCD: a Sersic profile, sheared, or a point, convolved
with the PSF there and the pixel. Sky, photon and read noise, saturation with bleeding, bad
columns, cosmic rays and trails are added.

References
----------
Rowe et al. 2015, A&C 10, 121 (GalSim); Miller et al. 2013, MNRAS 429, 2858 (sizes of galaxies).
"""

import numpy as np

from shapepipe import Input, Output, runner
from shapepipe.simulate import mosaic
from shapepipe.simulate.chain import SurveyOptions, read_unit
from shapepipe.simulate.exposures import draw_exposure, make_camera
from shapepipe.simulate.run import draw_files, frame_of


@runner(
    inputs=[Input("ccd", ext=".json", doc="Which CCD of which exposure.")],
    outputs=[
        *(Output(kind, doc="HDU 1, compressed if the mosaics are.") for kind in mosaic.KINDS),
        Output("truth", ext=".npy", doc="Sources on the CCD."),
    ],
    after=["simulate_plan_runner"],
    numbering="-0000000-0",
    packages=["galsim"],
)
def simulate_ccd_runner(job, opts: SurveyOptions):
    """Draw one CCD."""
    survey = opts.read()
    i, ccd = read_unit(job.inputs["ccd"], "exposure", "ccd")
    camera = make_camera(survey.camera)
    frame = frame_of(camera, draw_exposure(survey, camera, i), ccd)
    paths = {kind: job.output(kind) for kind in mosaic.KINDS}
    truth = draw_files(survey, camera, paths, frame)
    np.save(job.output("truth"), truth)
    return {"n_sources": len(truth)}
