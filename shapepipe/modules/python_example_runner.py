"""Example: read two text files and write a third. Start a runner of your own from this one.

The INI file of the chain is `example/config/config_example.ini`.

Algorithm
---------
Numbers and letters are read line by line, joined, and the numbers added up.
"""

from shapepipe import Input, NoUsableData, Options, Output, option, runner


class PythonExampleOptions(Options):
    """What a user may set in the section [PYTHON_EXAMPLE_RUNNER] of the INI file."""

    message: str = option("Value of", doc="Text put before each line.")


@runner(
    # Two files with the same number: numbers_3.txt and letters_3.txt.
    inputs=[
        Input("numbers", ext=".txt", doc="One number per line."),
        Input("letters", ext=".txt", doc="One word per line."),
    ],
    # One product: pyex_output_3.cat.
    outputs=[Output("pyex_output", ext=".cat", doc="One line for each pair.")],
    numbering="_0",
)
def python_example_runner(job, opts: PythonExampleOptions):
    """Join the two columns line by line and add up the numbers."""
    numbers = [float(word) for word in job.inputs["numbers"].read_text().split()]
    letters = job.inputs["letters"].read_text().split()
    if not numbers:
        raise NoUsableData(f"{job.inputs['numbers'].name} holds no number")
    pairs = zip(numbers, letters, strict=True)
    lines = [f"{opts.message} {letter}: {number:g}" for number, letter in pairs]
    job.output("pyex_output").write_text("\n".join(lines) + "\n")
    job.log.info("wrote %d lines", len(lines))
    return {"n_lines": len(lines), "total": sum(numbers)}  # metrics: recorded with the job
