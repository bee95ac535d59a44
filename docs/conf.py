"""How the documentation is built: Markdown pages, and a reference made from the declarations."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from shapepipe import __version__  # noqa: E402

project = "ShapePipe"
copyright = "The ShapePipe developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.mathjax", "runners"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"ShapePipe {release}"
html_copy_source = False
exclude_patterns = ["_build"]
