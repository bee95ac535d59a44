"""Example: run a program on each file, here `head`.

Algorithm
---------
A program is called with a list of arguments and a time limit; what it prints is kept.
"""

from shapepipe import Input, Options, Output, Program, option, runner


class ExecuteExampleOptions(Options):
    """What a user may set in the section [EXECUTE_EXAMPLE_RUNNER] of the INI file."""

    n_lines: int = option(1, at_least=1, doc="Number of lines to show of each file.")


@runner(
    inputs=[
        Input("numbers", ext=".txt", doc="A number on each line."),
        Input("letters", ext=".txt", doc="A letter on each line."),
        Input("pyex_output", ext=".cat", doc="Product of python_example_runner."),
    ],
    outputs=[Output("head_output", ext=".txt", doc="What the program printed.")],
    after=["python_example_runner"],
    numbering="_0",
    programs=[Program("head")],  # looked up, with its version, before the run starts
)
def execute_example_runner(job, opts: ExecuteExampleOptions):
    """Keep what `head` prints; an exit code other than 0 would make the job fail."""
    result = job.call("head", ["-n", opts.n_lines, *job.inputs.values()])
    job.output("head_output").write_text(result.output + "\n")
