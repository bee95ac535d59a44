"""The toolbox: arrays in, arrays out; no framework."""
