"""Selection files as a whole: layout, masks, and all complaints at once."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapepipe.astro.selection import Selection, parse_script, plots, read_script
from shapepipe.astro.selection.functions import FUNCTIONS
from shapepipe.errors import BadInput, ConfigurationError

MANUAL = Path(__file__).parents[2] / "docs" / "setools.md"
RNG = np.random.default_rng(77)
N_ROWS = 500
COLUMNS = {
    "MAG": RNG.uniform(15, 25, N_ROWS),
    "SIZE": RNG.gamma(6, 1, N_ROWS),
    "FLAGS": RNG.integers(0, 3, N_ROWS),
}
MAG, SIZE, FLAGS = COLUMNS.values()


def masks_of(text):
    return Selection.of(parse_script(text), COLUMNS, N_ROWS).masks


def complaints_about(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_script(text, "stars.setools")
    return list(caught.value.complaints)


def test_lines_of_a_mask_must_all_hold():
    masks = masks_of("[MASK:stars]\nMAG > 17\nMAG<21.5\n2*FLAGS == 0\n")
    np.testing.assert_array_equal(masks["stars"], (MAG > 17) & (MAG < 21.5) & (FLAGS == 0))


def test_a_mask_without_lines_takes_every_row():
    assert masks_of("[MASK:all]")["all"].all()


def test_a_comparison_of_numbers_takes_all_rows_or_none():
    masks = masks_of("[MASK:some]\nlen(MAG) > 100\n[MASK:none]\nlen(MAG) < 100\nMAG > 0")
    assert masks["some"].all()
    assert not masks["none"].any()


def test_the_star_selection_of_the_tutorial():
    text = """
        [MASK:pre]
        MAG < 20
        NO_SAVE
        [MASK:stars]
        SIZE <= median(SIZE{pre}) + 0.5
        SIZE >= median(SIZE{pre}) - 0.5
    """
    centre = np.median(SIZE[MAG < 20])
    expected = (centre + 0.5 >= SIZE) & (centre - 0.5 <= SIZE)
    np.testing.assert_array_equal(masks_of(text)["stars"], expected)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_inheritance_may_stand_anywhere_in_a_mask(where):
    lines = ["SIZE > mean(SIZE)", "MAG < 22"]
    lines.insert(where, "{clean}")
    clean = FLAGS == 0
    masks = masks_of("[MASK:clean]\nFLAGS == 0\n[MASK:big]\n" + "\n".join(lines))
    np.testing.assert_array_equal(masks["big"], clean & (SIZE > SIZE[clean].mean()) & (MAG < 22))


def test_several_masks_can_be_inherited():
    masks = masks_of("[MASK:a]\nMAG<22\n[MASK:b]\nFLAGS==0\n[MASK:c]\n{a}\n{b}\nSIZE<max(SIZE)")
    both = (MAG < 22) & (FLAGS == 0)
    np.testing.assert_array_equal(masks["c"], both & (SIZE[both].max() > SIZE))


def test_a_restricted_column_means_the_same_rows_inside_a_mask_that_inherits():
    text = "[MASK:a]\nMAG < 22\n[MASK:b]\nFLAGS == 0\n[MASK:c]\n{b}\nSIZE < mean(SIZE{a})"
    np.testing.assert_array_equal(
        masks_of(text)["c"], (FLAGS == 0) & (SIZE[MAG < 22].mean() > SIZE)
    )


def test_a_column_restricted_to_the_inherited_mask_is_the_column():
    masks = masks_of("[MASK:a]\nMAG < 22\n[MASK:b]\n{a}\nSIZE{a} > 5\n")
    np.testing.assert_array_equal(masks["b"], (MAG < 22) & (SIZE > 5))


def test_a_mask_of_a_mask_that_is_empty_is_empty():
    masks = masks_of("[MASK:a]\nMAG < 0\n[MASK:b]\n{a}\nSIZE <= mode(SIZE) + 0.2\n")
    assert not masks["b"].any()


def test_no_save_in_any_case_keeps_a_mask_from_being_saved():
    script = parse_script("[MASK:a]\nno_save\n[MASK:b]\nMAG>3\n[mask:c]\nNO_SAVE\nMAG > 1")
    assert [mask.name for mask in script.saved_masks] == ["b"]


def test_sections_without_a_name_are_numbered_by_type():
    script = parse_script(
        '[MASK]\nMAG > 3\n[STAT]\n"n" = len(MAG)\n[MASK:named]\nMAG>1\n[MASK]\n{mask_1}\n'
    )
    assert [mask.name for mask in script.masks] == ["mask_1", "named", "mask_2"]
    assert [section.name for section in script.statistics] == ["stat_1"]


def test_comments_blanks_and_quotes():
    text = '# whole line\n [ STATS : s ]  # end\n"a = b # c" = len( MAG )# end\nplain label=2*3\n'
    script = parse_script(text)
    assert [label for label, _ in script.statistics[0].lines] == ["a = b # c", "plain label"]
    assert script.statistics[0].name == "s"


def test_statistics_are_written_as_label_and_value():
    text = '[STAT:s]\n"n all" = len(MAG)\nMean = mean(MAG)\n"none" = mean(MAG{a})\n[MASK:a]\nMAG<0'
    script = parse_script(text)
    selection = Selection.of(script, COLUMNS, N_ROWS)
    assert selection.statistics_text(script.statistics[0]).splitlines() == [
        "# Statistics",
        "n all = 500",
        f"Mean = {float(MAG.mean())!r}",
        "none = nan",
    ]


def test_all_complaints_come_at_once_in_order_with_line_and_column():
    text = """MAG > 2
[MASK:stars]
MAG >> 3
SIZE < meen(SIZE)
{late}
[MASK:late]
FLAGS = 0
[MAKS:x]
MAG > 1
[STAT:s]
"a" = MAG
"b = 3
"c" =
[PLOT:p]
TYPE = plott
X = MAG
Y = SIZE{stars}
COLOUR = red
[RAND_SPLIT:r]
RATIO = 250
MASK = stars, stras
[NEW_CAT:c]
[MASK:stars]
[MASK
"""
    assert complaints_about(text) == [
        "stars.setools:1:1: this line stands before the first section",
        "stars.setools:3:6: unexpected '>'; a mask line holds one comparison; "
        "all lines of a mask must hold",
        "stars.setools:4:8: no function 'meen'; did you mean mean or median?",
        "stars.setools:5:1: mask 'late' is defined only at line 6; move it above",
        "stars.setools:7:7: unexpected '='; to compare for equality write ==",
        "stars.setools:8:2: no section type 'MAKS'; did you mean MASK?",
        "stars.setools:11:7: this is a value for each of all rows, not one number",
        'stars.setools:12:1: a double quote " is not closed',
        "stars.setools:13:1: nothing stands after the =",
        "stars.setools:15:8: 'plott' (allowed: plot, scatter, hist)",
        "stars.setools:17:5: values of different rows side by side: all rows and rows of stars",
        "stars.setools:18:1: no key 'COLOUR'; did you mean COLOR?",
        "stars.setools:20:9: RATIO is 250 (allowed: whole percent from 1 to 99, or 0.01 to 0.99)",
        "stars.setools:21:15: no mask 'stras'; did you mean stars?",
        "stars.setools:22:2: no column is defined (NAME = expression)",
        "stars.setools:23:7: the name 'stars' of a MASK section was used before, at line 2",
        "stars.setools:24:6: a section header ends with ]",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[MASK:a b]", "1:7: section name 'a b' (allowed: letters, digits, _ and -)"),
        ("[MASK:]", "1:7: section name '' (allowed: letters, digits, _ and -)"),
        ("[MASK:a]\n{a}", "2:1: mask 'a' is defined only at line 1; move it above"),
        ("[MASK:a]\n[mask:A]", "2:7: the name 'A' of a MASK section was used before, at line 1"),
        ("[MASK:a]\n[MASK:b]\nMAG{a} > 3", "3:1: the comparison covers rows of a, the mask looks"),
        ("[STAT:a]\nn = 1\nn = 2", "3:1: n was given before, at line 2"),
        ("[STAT:a]\nlen(MAG)", "2:1: expected key = value, found 'len(MAG)'"),
        ("[RAND_SPLIT:a]\n[MASK:m]", "1:2: RATIO is missing"),
        ("[NEW_CAT:a]\nOUTPUT_FORMAT=fit\nX=MAG", "2:15: 'fit' (allowed: fits, SEx_cat, txt)"),
        ("[NEW_CAT:a]\nX=MAG\nY=MAG{m}\n[MASK:m]", "3:3: column Y covers rows of m, column X"),
    ],
)
def test_complaint(text, complaint):
    (found,) = complaints_about(text)
    assert found.startswith(f"stars.setools:{complaint}")


def test_columns_that_the_catalogue_lacks_are_named_with_their_neighbours():
    text = '[MASK:a]\nMAGG > 3\n\n[STAT:s]\n"m" =  mean(FLAG{a})\n"m2" = mean(MAGG)'
    with pytest.raises(BadInput) as caught:
        Selection.of(parse_script(text, "stars.setools"), COLUMNS, N_ROWS)
    assert str(caught.value) == (
        "stars.setools:2:1: no column 'MAGG'; did you mean MAG?; "
        "at 5:13 no column 'FLAG'; did you mean FLAGS?"
    )


def test_a_column_that_is_no_number_is_named_with_its_place():
    columns = {**COLUMNS, "MAG": np.ones((N_ROWS, 3))}
    with pytest.raises(BadInput, match=r"^s:2:1: column MAG holds 3 values per row, not one$"):
        Selection.of(parse_script("[MASK:a]\nMAG > 3", "s"), columns, N_ROWS)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_script(tmp_path / "absent.setools")
    (tmp_path / "latin.setools").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="cannot be read: 'utf-8'"):
        read_script(tmp_path / "latin.setools")


def test_an_empty_file_asks_for_nothing():
    selection = Selection.of(parse_script("# nothing\n"), COLUMNS, N_ROWS)
    assert selection.counts() == {}


def test_the_sections_shown_in_the_manual_are_right():
    _, whole, *sections = re.findall(r"```ini\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    text = whole + "[MASK:clean]\nFLAGS == 0\n" + "".join(sections)
    script = parse_script(text)
    assert [mask.name for mask in script.masks] == ["preselect", "star_selection", "clean", "small"]
    assert script.splits and script.plots and script.statistics


def test_the_mistakes_shown_in_the_manual_read_so():
    _, whole, *_ = re.findall(r"```ini\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    (shown,) = re.findall(r"```text\n(star_selection.*?)```", MANUAL.read_text(), re.DOTALL)
    wrong = whole.replace("<= mode(", "<= mod(")
    wrong = wrong.replace(">= mode(FWHM_IMAGE{preselect", ">= mode(FWHM_IMAGE{preselct")
    with pytest.raises(ConfigurationError) as caught:
        parse_script(wrong, "star_selection.setools")
    assert str(caught.value) == shown.strip()


def test_the_manual_names_every_function_and_key():
    manual = MANUAL.read_text()
    keys = {key for keys in plots.SERIES_KEYS.values() for key in keys} | set(plots.FIGURE_KEYS)
    assert [name for name in FUNCTIONS if f"`{name}(" not in manual] == []
    assert [key for key in keys if f"`{key}`" not in manual] == []


PIECES = st.sampled_from(
    ["[", "]", ":", "MASK", "PLOT", "STATS", "NEW_CAT", "RAND_SPLIT", "a", "{a}", "MAG", " ", "=",
     "\n", "\n", "\n", '"', "#", "@", "TYPE", "hist", "X", "Y_1", "RATIO", "20", "0.5", ",", "XLIM",
     "NO_SAVE", "<", "mean(", ")", "LABEL", "COLOR", "ALPHA", "é", "\t", "-", "OUTPUT_FORMAT"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_file_is_understood_or_refused_with_places_within_it(text):
    try:
        parse_script(text, "s")
    except ConfigurationError as error:
        lines = text.splitlines()
        for complaint in error.complaints:
            line, column = map(int, complaint.split(":")[1:3])
            assert 1 <= line <= len(lines)
            assert 1 <= column <= len(lines[line - 1]) + 1
