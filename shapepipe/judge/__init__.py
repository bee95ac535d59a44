"""How well a processed simulated survey agrees with its truth: figures, tables and plots.

One file for each quantity; how a survey is drawn is in `simulate`.
"""

from shapepipe.judge.report import QUANTITIES, judge, show

__all__ = ["QUANTITIES", "judge", "show"]
