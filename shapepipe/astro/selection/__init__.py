"""The star-selection language: masks, plots, statistics, new catalogues and random splits.

A selection file (`.setools`) is read and checked as a whole by `read_script`; `Selection` applies
it to a catalogue. The language is described in `docs/setools.md`. Nothing here reads or writes
catalogues; arrays come in and go out.
"""

from shapepipe.astro.selection.apply import Selection
from shapepipe.astro.selection.mode import mode
from shapepipe.astro.selection.script import Script, parse_script, read_script

__all__ = ["Script", "Selection", "mode", "parse_script", "read_script"]
