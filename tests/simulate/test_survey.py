"""The INI file of a survey: what it says is read, what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapepipe.errors import ConfigurationError
from shapepipe.simulate import Survey, read_survey
from shapepipe.simulate.survey import SECTIONS, tile_centre, write_survey

EXAMPLES = Path(__file__).parents[2] / "example" / "config"


def test_written_survey_reads_back(tmp_path):
    write_survey(Survey(), tmp_path / "survey.ini")
    assert read_survey(tmp_path / "survey.ini") == Survey()


@pytest.mark.parametrize("name", ["simulate_small.ini", "simulate_megacam.ini"])
def test_examples_are_read(name):
    assert read_survey(EXAMPLES / name) != Survey()


def test_all_complaints_at_once_with_line_and_nearest_name(tmp_path):
    path = tmp_path / "survey.ini"
    path.write_text("[SURVEY]\nSEED = x\n[STARZ]\nA = 1\n[PSF]\nFWHN = 0.7\nBETA = 1\n")
    with pytest.raises(ConfigurationError) as caught:
        read_survey(path)
    text = str(caught.value)
    assert len(caught.value.complaints) == 4
    assert "survey.ini:2 [SURVEY] SEED" in text
    assert "survey.ini:6 [PSF] FWHN: unknown option; did you mean FWHM?" in text
    assert "did you mean STARS?" in text
    assert "> 1.5" in text


def test_options_that_do_not_fit_together(tmp_path):
    path = tmp_path / "survey.ini"
    path.write_text(
        "[EXPOSURES]\nCOUNT = 3\nOFFSETS_EAST = 0, 1\nOFFSETS_NORTH = 0, 1\n"
        "[GALAXIES]\nSERSIC = 1, 9\n[STARS]\nMAG_FAINT = 10\n[SURVEY]\nTILES =\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        read_survey(path)
    assert len(caught.value.complaints) == 5


def test_stars_on_a_grid_need_one(tmp_path):
    path = tmp_path / "survey.ini"
    path.write_text("[STARS]\nLAYOUT = grid\n")
    with pytest.raises(ConfigurationError, match="LAYOUT: grid, but the galaxies are not"):
        read_survey(path)


@pytest.mark.parametrize(
    ("section", "line"), [("SURVEY", "TILES = 277.28"), ("EXPOSURES", "DATE = yesterday")]
)
def test_values_of_a_wrong_form(tmp_path, section, line):
    path = tmp_path / "survey.ini"
    path.write_text(f"[{section}]\n{line}\n")
    with pytest.raises(ConfigurationError, match=r"survey.ini:2 .* \(allowed: such as"):
        read_survey(path)


def test_every_option_is_documented():
    for section in SECTIONS.values():
        for name, field in section.model_fields.items():
            assert field.description and field.description.endswith("."), name


def test_centre_of_a_tile():
    ra, dec = tile_centre("277.282")
    assert dec == 51.0
    assert ra == pytest.approx(220.0787, abs=1e-4)
