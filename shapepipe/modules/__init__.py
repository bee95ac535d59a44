"""Runners: one file each; its stem is the runner's name and, in capitals, its INI section."""
