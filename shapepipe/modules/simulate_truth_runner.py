"""Tables of what was simulated: every object, and every exposure.

Algorithm
---------
Tables of all CCDs are joined; an object that several CCDs show is listed once.

References
----------
Rowe et al. 2015, A&C 10, 121 (GalSim, whose conventions for shapes the tables have).
"""

import numpy as np

from shapepipe import Input, Output, runner
from shapepipe.simulate import truth
from shapepipe.simulate.chain import SurveyOptions, lay_out
from shapepipe.simulate.exposures import make_camera, plan_exposures


@runner(
    inputs=[Input("truth", ext=".npy", doc="Sources on each CCD.")],
    outputs=[
        Output("objects", doc="Every object that any CCD shows, once."),
        Output("exposures", doc="Pointing, photometry, sky and PSF."),
    ],
    after=["simulate_ccd_runner"],
    scope="all",
)
def simulate_truth_runner(job, opts: SurveyOptions):
    """Join the tables of all CCDs."""
    survey = opts.read()
    parts = job.inputs["truth"]
    truth.write_objects(job.output("objects"), [np.load(parts[unit]) for unit in sorted(parts)])
    exposures = plan_exposures(survey, make_camera(survey.camera))
    truth.write_exposures(job.output("exposures"), exposures)
    if opts.folder:
        for role in ("objects", "exposures"):
            lay_out(job.output(role), opts.folder / "truth" / f"{role}.fits")
