"""The measure: metacalibration, Gaussian fits, moments, responses; arrays in, arrays out."""

from pathlib import Path

from .batch import Batch
from .compilation import compiled_files, drop_outdated
from .fit import fit_objects
from .flags import FAILED, NOTES, ShapeFlag
from .measure import measure, measure_halves, measure_with_halves
from .noise import epoch_identity
from .settings import SHEAR_TYPES, Settings
from .shapes import Shapes

__all__ = [
    "FAILED",
    "NOTES",
    "SHEAR_TYPES",
    "Batch",
    "Settings",
    "ShapeFlag",
    "Shapes",
    "epoch_identity",
    "measure",
    "measure_halves",
    "measure_with_halves",
]

drop_outdated(Path(fit_objects.stats.cache_path), compiled_files(Path(__file__).parent))
