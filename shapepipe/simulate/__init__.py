"""A sky with known truth: exposures, stacks and catalogues of a simulated survey."""

from shapepipe.simulate.chain import earlier_run, simulate, write_chain
from shapepipe.simulate.run import simulate_survey
from shapepipe.simulate.survey import Survey, read_survey

__all__ = [
    "Survey",
    "earlier_run",
    "read_survey",
    "simulate",
    "simulate_survey",
    "write_chain",
]
