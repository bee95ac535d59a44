"""A sky with known truth: exposures, stacks and catalogues of a simulated survey."""

from shapepipe.simulate.run import simulate, simulate_survey
from shapepipe.simulate.survey import Survey, read_survey

__all__ = ["Survey", "read_survey", "simulate", "simulate_survey"]
