"""Sky level and noise of each CCD image.

An example of a runner of your own: name this folder in the INI file and the runner in the chain.

    [EXECUTION]
    MODULE = sky_runner
    MODULE_PATH = modules

With USE_FLAG = True the second input is a flag image, whose pixels other than 0 do not count.
"""

from shapepipe import BadInput, Input, NoUsableData, Options, Output, option, runner
from shapepipe.astro import fits, quicklook


class SkyOptions(Options):
    """What a user may set in the section [SKY_RUNNER]."""

    rounds: int = option(5, at_least=0, doc="Rounds of clipping at three standard deviations.")
    hdu: int = option(0, at_least=0, doc="Extension that holds the image.")
    use_flag: bool = option(False, doc="A flag image is the second input.")


@runner(
    inputs=[
        Input("image", doc="Image of one CCD."),
        Input("flag", pattern="pipeline_flag", when=lambda o: o.use_flag, doc="Its flags."),
    ],
    outputs=[Output("sky", ext=".json", doc="Level, noise, and fraction of pixels used.")],
    after=["split_exp_runner", "mask_runner"],
)
def sky_runner(job, opts: SkyOptions):
    """Measure sky level and noise over unflagged pixels."""
    image = fits.read_image(job.inputs["image"], opts.hdu)
    used = image == image
    if "flag" in job.inputs:
        flags = fits.read_image(job.inputs["flag"])
        if flags.shape != image.shape:
            raise BadInput(job.inputs["flag"], f"has shape {flags.shape}", f"{image.shape}")
        used &= flags == 0
    if not used.any():
        raise NoUsableData("no pixel is unflagged")
    level, noise = quicklook.clipped(image[used], opts.rounds)
    found = {"sky_level": level, "sky_noise": noise, "fraction_used": float(used.mean())}
    job.log.info("sky %.2f, noise %.2f", level, noise)
    job.write_json("sky", found)
    return found
