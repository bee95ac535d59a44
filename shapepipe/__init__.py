"""ShapePipe: from survey images to weak-lensing shear catalogues.

What the author of a runner needs stands here; `shapepipe.run(path)` runs an INI file from Python.
"""

from shapepipe.errors import (
    BadInput,
    ConfigurationError,
    NoUsableData,
    PartlyDone,
    ProgramFailed,
)
from shapepipe.pipeline.legacy import module_runner
from shapepipe.pipeline.options import (
    Address,
    Folder,
    InputFile,
    Options,
    ProductFile,
    RowsOptions,
    Section,
    option,
)
from shapepipe.pipeline.run import Result, run
from shapepipe.pipeline.runner import Input, Output, Program, runner
from shapepipe.pipeline.secondary import read_sections

__version__ = "2.0.0.dev0"

__all__ = [
    "Address",
    "BadInput",
    "ConfigurationError",
    "Folder",
    "Input",
    "InputFile",
    "NoUsableData",
    "Options",
    "Output",
    "PartlyDone",
    "Program",
    "ProductFile",
    "ProgramFailed",
    "Result",
    "RowsOptions",
    "Section",
    "module_runner",
    "option",
    "read_sections",
    "run",
    "runner",
]
