"""A small survey without noise or defects, drawn once for all tests of this folder."""

from __future__ import annotations

import pytest

from shapepipe.simulate import Survey, simulate_survey
from shapepipe.simulate.survey import (
    CameraSection,
    DetectorSection,
    ExposureSection,
    FileSection,
    GalaxySection,
    SkySection,
    StarSection,
)

CLEAN = DetectorSection(noise=False, bleeding=False, bad_columns=0, cosmic_rays=0, trails=0)


@pytest.fixture(scope="session")
def clean_survey():
    """Two exposures of 2 x 2 CCDs with stars alone, faint enough not to saturate."""
    return Survey(
        camera=CameraSection(width=400, height=360, gap=40, cubic=-8.0),
        exposures=ExposureSection(count=2, dither=8.0),
        sky=SkySection(gradient=0.0),
        stars=StarSection(density=12, mag_bright=18.5, mag_faint=21.0),
        galaxies=GalaxySection(density=0),
        detector=CLEAN,
        files=FileSection(extension=".fits"),
    )


@pytest.fixture(scope="session")
def clean_folder(clean_survey, tmp_path_factory):
    """Folder of `clean_survey`."""
    folder = tmp_path_factory.mktemp("clean")
    simulate_survey(clean_survey, folder)
    return folder
