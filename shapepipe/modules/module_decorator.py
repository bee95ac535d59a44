"""Where runners written for ShapePipe 1.x import their decorator from."""

from shapepipe import module_runner

__all__ = ["module_runner"]
