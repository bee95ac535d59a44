"""ShapePipe: from survey images to weak-lensing shear catalogues."""

__version__ = "2.0.0.dev0"
