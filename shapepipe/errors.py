"""Every exception that ShapePipe raises on purpose, when it is raised, and its exit status.

===================  =========================================================  ===========
exception            raised when                                                exit status
===================  =========================================================  ===========
ConfigurationError   the INI file, the command line or the plan is wrong        2
RunRefused           a run exists with other options, or another process has it 2
BadInput             a file or table is not what it should be                   (job failed)
PartlyDone           some products of a unit cannot be made                     (job failed)
NoUsableData         a unit has, as can be expected, nothing to work on         (job empty)
ProgramFailed        an external program ended with an error                    (job failed)
===================  =========================================================  ===========

All of them survive pickling, since jobs run in other processes than the one that reports them.
"""

from __future__ import annotations

from pathlib import Path


class ShapePipeError(Exception):
    """Base of all ShapePipe exceptions; `exit_status` is what the command line returns."""

    exit_status = 1


class ConfigurationError(ShapePipeError):
    """Complaints about a configuration, collected so that all of them show at once.

    Parameters
    ----------
    complaints : str or sequence of str
        One line each: where, the value, what is allowed, the nearest guess.
    """

    exit_status = 2

    def __init__(self, complaints):
        self.complaints = (complaints,) if isinstance(complaints, str) else tuple(complaints)
        super().__init__(self.complaints)

    def __str__(self):
        return "\n".join(self.complaints)


class RunRefused(ShapePipeError):
    """A run cannot be started or continued: another process has it, or its options differ."""

    exit_status = 2


class NoUsableData(ShapePipeError):
    """Nothing to do for this unit, as can be expected on real data (no star, all pixels masked)."""


class BadInput(ShapePipeError):
    """A file does not hold what it should.

    Parameters
    ----------
    path : str or Path
        The file, with the HDU or column in the text of `problem` where one is concerned.
    problem : str
        What is wrong, with the offending value.
    allowed : str, optional
        What would have been right.
    """

    def __init__(self, path: str | Path, problem: str, allowed: str = ""):
        self.path, self.problem, self.allowed = str(path), problem, allowed
        super().__init__(self.path, problem, allowed)

    def __str__(self):
        text = f"{self.path}: {self.problem}"
        return f"{text} (allowed: {self.allowed})" if self.allowed else text


class PartlyDone(BadInput):
    """Some products of a unit cannot be made; those that are written are whole and go on.

    The unit counts as failed, with this message, and is tried again when the run is continued.
    """


class ProgramFailed(ShapePipeError):
    """An external program ended badly.

    Parameters
    ----------
    program : str
        Name of the program.
    reason : str
        Exit code or signal, and the last lines that it printed.
    """

    def __init__(self, program: str, reason: str):
        self.program, self.reason = program, reason
        super().__init__(program, reason)

    def __str__(self):
        return f"{self.program}: {self.reason}"
