"""Stacks of simulated exposures, made by SWarp."""
