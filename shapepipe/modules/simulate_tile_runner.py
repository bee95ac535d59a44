"""A stack of simulated exposures, made by SWarp, with HISTORY cards that name them.

Algorithm
---------
SWarp resamples the CCDs that touch the tile and averages them with their weights and flux scales.

References
----------
Bertin et al. 2002, ASP Conf. Ser. 281, 228 (SWarp).
"""

from shapepipe import Input, Output, Program, runner
from shapepipe.simulate import stack
from shapepipe.simulate.chain import SurveyOptions, finder, lay_out, read_unit
from shapepipe.simulate.exposures import make_camera, plan_exposures
from shapepipe.simulate.run import frames_of


def _extension(opts):
    return opts.read().files.extension


@runner(
    inputs=[
        Input("tile", ext=".json", doc="Which tile."),
        Input("image", gather=True, doc="All CCDs."),
        Input("weight", gather=True, doc="All CCDs."),
    ],
    outputs=[
        Output("stack", "CFIS_image", doc="The stack."),
        Output("stack_weight", "CFIS_weight", ext=_extension, doc="Its weight."),
    ],
    after=["simulate_plan_runner", "simulate_ccd_runner"],
    numbering="-000-000",
    programs=[Program("SWarp", alternatives=("swarp",), option="program")],
)
def simulate_tile_runner(job, opts: SurveyOptions):
    """Stack the CCDs that touch one tile."""
    survey = opts.read()
    (tile,) = read_unit(job.inputs["tile"], "tile")
    camera = make_camera(survey.camera)
    frames = frames_of(camera, plan_exposures(survey, camera))
    paths = [job.output("stack"), job.output("stack_weight")]

    def call(arguments, folder):
        return job.call("SWarp", arguments, cwd=folder)

    stack.make_tile(survey, tile, frames, finder(job.inputs), paths, job.scratch, call)
    if opts.folder:
        for path, name in zip(paths, stack.tile_names(survey, tile), strict=True):
            lay_out(path, opts.folder / "tiles" / name)
