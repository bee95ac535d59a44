"""Run a command line as ShapePipe 1.x did: for runners of that time, which import it from here.

New runners declare their programs and use `job.call`.
"""

from __future__ import annotations

import shlex
import subprocess


def execute(command_line: str) -> tuple[str, str]:
    """Run a command and wait for it.

    Parameters
    ----------
    command_line : str
        Program and arguments; quotes keep blanks together, and there is no shell.

    Returns
    -------
    stdout, stderr : str
        What it printed. A command that ends with an error always leaves text in `stderr`, so that
        a runner which returns both fails.
    """
    done = subprocess.run(
        shlex.split(command_line), capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    stdout, stderr = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode and not stderr.strip():
        stderr = f"exit code {done.returncode}: {command_line}"
    return stdout, stderr
