"""Runners: one file each; the file's stem is the runner's name and, in capitals, its INI section."""
