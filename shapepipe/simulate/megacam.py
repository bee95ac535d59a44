"""Nominal geometry of the CFHT MegaCam mosaic: where its 40 CCDs are, and their amplifiers.

Source: the cards DETSEC, GAIN, RDNOISE and SATURATE in the header of CFHT exposure 2452990 (2019).
A least-squares fit of scale, centre and cubic distortion to the CRPIX and CD of the same 40 headers
gives the numbers below, and reproduces them to 0.8 arcsec rms; that scale and the arrangement
agree with the nominal MegaPrime geometry that THELI distributes.
"""

from __future__ import annotations

SCALE = 0.18710
"""Pixel scale at the centre of the field, arcsec."""
CENTRE = (11602.6, 9670.0)
"""Optical axis in mosaic pixels (1-based, as in DETSEC)."""
CUBIC = -0.0233
"""Cubic distortion, deg^-2: r_sky = r (1 + CUBIC r^2)."""
WIDTH, HEIGHT = 2048, 4612
"""Light-sensitive pixels of a CCD."""
LEFT, RIGHT, TOP = 32, 32, 32
"""Pixels of the frame beside and above them: DATASEC is [33:2080,1:4612] of 2112 x 4644."""

ROTATED = frozenset((*range(18), 36, 37))
"""CCDs whose pixels run the other way on both axes (rotated by 180 degrees)."""

CHIPS = (
    # lowest pixel of DETSEC on both axes, gain (e-/ADU), read noise (e-), saturation (ADU)
    (2113, 14740, 1.5850, 5, 65435),
    (4231, 14741, 1.5407, 4, 68595),
    (6347, 14742, 1.5916, 4, 66606),
    (8462, 14743, 1.5257, 4, 69913),
    (10583, 14743, 1.5779, 4, 64900),
    (12693, 14742, 1.5442, 5, 69499),
    (14815, 14740, 1.5597, 6, 68180),
    (16932, 14738, 1.4120, 5, 72769),
    (19050, 14739, 1.4235, 6, 79317),
    (2114, 9707, 1.6162, 4, 68225),
    (4232, 9706, 1.6098, 4, 66868),
    (6347, 9705, 1.6858, 5, 65016),
    (8464, 9708, 1.5871, 4, 70095),
    (10581, 9709, 1.6954, 3, 65225),
    (12698, 9705, 1.5380, 4, 71484),
    (14816, 9705, 1.6613, 3, 61440),
    (16931, 9709, 1.4551, 4, 75565),
    (19050, 9698, 1.6133, 4, 80125),
    (2114, 5041, 1.4273, 4, 75661),
    (4231, 5043, 1.4465, 3, 71484),
    (6347, 5042, 1.6061, 3, 69061),
    (8465, 5043, 1.6479, 4, 61540),
    (10581, 5042, 1.5163, 3, 70997),
    (12703, 5045, 1.5336, 3, 66991),
    (14815, 5044, 1.6195, 3, 66873),
    (16933, 5048, 1.6260, 3, 67207),
    (19046, 5041, 1.4956, 4, 69569),
    (2121, 2, 1.5089, 4, 74385),
    (4230, 13, 1.4073, 4, 76041),
    (6349, 12, 1.7231, 5, 69499),
    (8468, 7, 1.4729, 4, 74207),
    (10583, 9, 1.5116, 4, 73384),
    (12700, 8, 1.6213, 4, 65383),
    (14818, 12, 1.4992, 4, 68309),
    (16934, 11, 1.4565, 4, 74141),
    (19044, 1, 1.4037, 4, 73898),
    (1, 9707, 1.4854, 4, 75785),
    (21172, 9698, 1.4711, 4, 70284),
    (1, 5041, 1.4928, 4, 71239),
    (21172, 5041, 1.2771, 4, 81233),
)
