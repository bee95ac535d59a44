"""Example: one job that gets the files of all numbers at once.

Algorithm
---------
One job is given the files of all numbers, and writes one file.
"""

from shapepipe import Input, Options, Output, option, runner


class SerialExampleOptions(Options):
    """What a user may set in the section [SERIAL_EXAMPLE_RUNNER] of the INI file."""

    add_input: bool = option(True, doc="Repeat the lines of each file, not only its name.")


@runner(
    inputs=[
        Input("numbers", ext=".txt", doc="A number on each line."),
        Input("letters", ext=".txt", doc="A letter on each line."),
        Input("pyex_output", ext=".cat", doc="Product of python_example_runner."),
    ],
    outputs=[Output("serial_example", "final", ext=".txt", doc="All files one after the other.")],
    after=["python_example_runner"],
    numbering="_0",
    scope="all",  # not "each": job.inputs[role] is a dict, from number to path
)
def serial_example_runner(job, opts: SerialExampleOptions):
    """Gather the files of all numbers in one."""
    lines = []
    for role, files in job.inputs.items():
        for number in sorted(files):
            lines.append(f"# {role}{number}")
            lines += files[number].read_text().splitlines() if opts.add_input else []
    job.output("serial_example").write_text("\n".join(lines) + "\n")
    return {"n_files": sum(len(files) for files in job.inputs.values())}
