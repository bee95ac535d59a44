"""What a selection file makes besides masks: random splits, new catalogues, plots."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from shapepipe.astro.selection import Selection, parse_script
from shapepipe.errors import BadInput, ConfigurationError

RNG = np.random.default_rng(78)
N_ROWS = 303
COLUMNS = {
    "MAG": RNG.uniform(15, 25, N_ROWS).astype("f4"),
    "SIZE": RNG.gamma(6, 1, N_ROWS),
    "NUMBER": np.arange(N_ROWS, dtype="i4"),
    "VIGNET": RNG.normal(size=(N_ROWS, 5, 5)).astype("f4"),
}
MASKS = "[MASK:bright]\nMAG < 20\n[MASK:big]\nSIZE > 6\n[MASK:none]\nMAG < 0\n"


def selection_of(text):
    return Selection.of(parse_script(MASKS + text, "s"), COLUMNS, N_ROWS)


def complaint_about(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_script(MASKS + text, "s")
    (complaint,) = caught.value.complaints
    return complaint.removeprefix("s:")


# Random splits


def draw(text, seed=1):
    selection = selection_of("[RAND_SPLIT:half]\n" + text)
    (split,) = selection.script.splits
    return split, split.draw(selection.masks, N_ROWS, np.random.default_rng(seed))


@pytest.mark.parametrize("ratio", ["20", "0.2", "20.0", ".2"])
def test_a_split_is_the_selection_cut_in_two(ratio):
    split, (first, second) = draw(f"RATIO = {ratio}\nMASK = bright, big\n")
    selected = np.flatnonzero((COLUMNS["MAG"] < 20) & (COLUMNS["SIZE"] > 6))
    assert split.parts == ("half_ratio_20", "half_ratio_80")
    assert len(first) == np.ceil(0.2 * len(selected))
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), selected)
    assert (np.diff(first) > 0).all() and (np.diff(second) > 0).all()


def test_a_split_depends_on_the_seed_alone():
    (_, one), (_, same), (_, other) = (draw("RATIO = 20", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], same[0])
    assert not np.array_equal(one[0], other[0])


def test_a_split_draws_every_row_equally_often():
    selection = selection_of("[RAND_SPLIT:s]\nRATIO = 20")
    (split,) = selection.script.splits
    rng, drawn = np.random.default_rng(9), np.zeros(N_ROWS)
    for _ in range(400):
        drawn[split.draw(selection.masks, N_ROWS, rng)[0]] += 1
    expected, scatter = 400 * 61 / 303, np.sqrt(400 * 0.2 * 0.8)
    assert abs(drawn - expected).max() < 4.5 * scatter
    assert drawn.std() == pytest.approx(scatter, rel=0.15)


def test_masks_of_one_split_do_not_reach_the_next():
    text = "[RAND_SPLIT:a]\nRATIO=20\nMASK=bright\n[RAND_SPLIT:b]\nRATIO=20\nMASK=big\n"
    selection, rng = selection_of(text), np.random.default_rng(3)
    for split, mask in zip(selection.script.splits, ("bright", "big"), strict=True):
        first, second = split.draw(selection.masks, N_ROWS, rng)
        assert len(first) + len(second) == np.count_nonzero(selection.masks[mask])


def test_a_split_of_nothing_is_two_empty_parts():
    _, parts = draw("RATIO = 20\nMASK = none")
    assert [len(rows) for rows in parts] == [0, 0]


def test_two_halves_have_different_names():
    split, _ = draw("RATIO = 50")
    assert split.parts == ("half_ratio_50", "half_ratio_50_rest")


@pytest.mark.parametrize("ratio", ["0", "100", "-20", "12.5", "0.001", "1e9", "nan", "many"])
def test_a_ratio_that_makes_no_two_parts_is_refused(ratio):
    assert complaint_about(f"[RAND_SPLIT:s]\nRATIO = {ratio}").startswith("8:9: ")


# New catalogues


def test_columns_are_copied_as_they_are_computed_in_double_precision_and_repeated():
    text = "[NEW_CAT:c]\nid=NUMBER{big}\nv=VIGNET{big}\nx=2*MAG{big}\nm=mean(MAG)\nn=len(MAG)\n"
    selection = selection_of(text)
    columns = selection.new_columns(selection.script.catalogues[0])
    big = COLUMNS["SIZE"] > 6
    np.testing.assert_array_equal(columns["v"], COLUMNS["VIGNET"][big])
    np.testing.assert_array_equal(columns["x"], 2 * COLUMNS["MAG"][big].astype(float))
    assert columns["id"].dtype == "i4"
    assert set(columns["m"]) == {COLUMNS["MAG"].astype(float).mean()}
    assert set(columns["n"]) == {N_ROWS}
    assert {len(column) for column in columns.values()} == {np.count_nonzero(big)}


def test_columns_may_be_called_like_nothing_else_but_the_format_key():
    text = "[NEW_CAT:c]\noutput_format = SEX_CAT\nMASK = MAG\n"
    (section,) = selection_of(text).script.catalogues
    assert section.format == "SEx_cat"
    assert [name for name, _ in section.columns] == ["MASK"]


def test_stamps_do_not_go_into_text():
    selection = selection_of("[NEW_CAT:c]\nOUTPUT_FORMAT = txt\nv = VIGNET")
    with pytest.raises(BadInput, match=r"^s:9:5: column v has several values per row"):
        selection.new_columns(selection.script.catalogues[0])


# Plots

POINTS = "X = MAG\nY = SIZE\n"
TYPES = {"plot": POINTS, "scatter": POINTS + "SCATTER = SIZE / MAG\n", "hist": "X = MAG\n"}


def image_of(text, tmp_path, columns=COLUMNS):
    script = parse_script(MASKS + "[PLOT:p]\n" + text, "s")
    path = tmp_path / f"p.{script.plots[0].format}"
    Selection.of(script, columns, len(columns["MAG"])).save_plot(script.plots[0], path)
    return path.read_bytes()


def share_of(color, image):
    pixels = imread(io.BytesIO(image))[..., :3]
    return np.mean(np.abs(pixels - matplotlib.colors.to_rgb(color)).max(axis=-1) < 0.02)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("format_", "start"),
    [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("jpg", b"\xff\xd8")],
)
def test_a_plot_has_the_same_bytes_every_time(kind, format_, start, tmp_path):
    text = f"TYPE = {kind}\nFORMAT = {format_}\n{TYPES[kind]}TITLE = Some title\nLABEL = here\n"
    first = image_of(text, tmp_path)
    assert first.startswith(start)
    assert image_of(text, tmp_path) == first


def test_a_plot_leaves_no_trace_in_the_settings_of_matplotlib(tmp_path):
    with matplotlib.rc_context({"axes.grid": False, "font.size": 33}):
        before, image = dict(matplotlib.rcParams), image_of("TYPE = hist\nX = MAG", tmp_path)
        assert dict(matplotlib.rcParams) == before
    assert image_of("TYPE = hist\nX = MAG", tmp_path) == image


def test_series_have_colours_and_share_what_has_no_number(tmp_path):
    text = (
        "TYPE = plot\nX = MAG\nY_1 = SIZE\nY_2 = SIZE + 20\nMARKER = s\nMARKERSIZE = 6\n"
        "COLOR_1 = #comment\nCOLOR_2 = lime\n"
    ).replace("#comment", '"#ff00ff"')
    image = image_of(text, tmp_path)
    assert share_of("#ff00ff", image) > 0.005
    assert share_of("lime", image) > 0.005
    assert share_of("red", image) == 0


@pytest.mark.parametrize("kind", TYPES)
def test_limits_act_on_every_type_of_plot(kind, tmp_path):
    plain = image_of(f"TYPE = {kind}\n{TYPES[kind]}", tmp_path)
    for limit in ("XLIM = 30, -5", "YLIM = 0.5, 50", "LOG = True"):
        assert image_of(f"TYPE = {kind}\n{TYPES[kind]}{limit}\n", tmp_path) != plain


@pytest.mark.parametrize(
    ("kind", "look"),
    [("plot", "LINE = --"), ("plot", "ALPHA = 0.3"), ("plot", "MARKER = o\nMARKERSIZE = 4"),
     ("scatter", "MARKERSIZE = 8"), ("scatter", "ALPHA = 0.1"), ("hist", "BIN = 7"),
     ("hist", "HTYPE = step"), ("hist", "COLOR = green"), ("hist", "LABEL = a = b")],
)  # fmt: skip
def test_looks_change_the_plot(kind, look, tmp_path):
    text = f"TYPE = {kind}\n{TYPES[kind]}"
    assert image_of(text + look, tmp_path) != image_of(text, tmp_path)


def test_expressions_in_texts_are_replaced_by_their_values(tmp_path):
    text = 'TYPE = hist\nX = MAG\nTITLE = "@len(MAG)@ at @@ @2*(1+1)@"\nLABEL = @mean(MAG*0)@!\n'
    plain = 'TYPE = hist\nX = MAG\nTITLE = "303 at @@ 4"\nLABEL = 0!\n'
    assert image_of(text, tmp_path) == image_of(plain, tmp_path)


def test_values_that_are_not_finite_and_empty_selections_can_be_plotted(tmp_path):
    broken = {**COLUMNS, "MAG": np.where(COLUMNS["NUMBER"] % 3, COLUMNS["MAG"], np.nan)}
    for kind, text in TYPES.items():
        title = "TITLE = @mean(MAG{none})@\n"
        assert image_of(f"TYPE = {kind}\n{text}", tmp_path, broken)
        empty = text.replace("MAG", "MAG{none}").replace("SIZE", "SIZE{none}")
        assert image_of(f"TYPE = {kind}\n{empty}{title}", tmp_path)
        assert image_of(f"TYPE = {kind}\n{empty}LOG = True\n", tmp_path)


def test_a_text_that_cannot_be_set_is_blamed_on_its_plot(tmp_path):
    with pytest.raises(BadInput, match=r"^s:7:2: the plot cannot be drawn"):
        image_of("TYPE = hist\nX = MAG\nTITLE = $\\nosuch{$\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("X = MAG\nY = SIZE", "7:2: TYPE is missing (one of plot, scatter, hist)"),
        ("TYPE = plot\nX = MAG", "7:2: Y is missing"),
        ("TYPE = plot\nX_1 = MAG\nY_1 = MAG\nX_2 = MAG", "7:2: Y_2 is missing"),
        ("TYPE = scatter\n" + POINTS, "7:2: SCATTER is missing"),
        ("TYPE = hist\n" + POINTS, "7:2: X and Y are both given"),
        ("TYPE = hist", "7:2: X or Y is missing"),
        ("TYPE = plot\nX = MAG\nY = mean(MAG)", "10:5: this is one number; a value per row"),
        ("TYPE = plot\nX=MAG\nY=SIZE{big}", "10:3: values of different rows side by side"),
        ("TYPE = plot\nBIN = 3\n" + POINTS, "9:1: BIN has no effect on TYPE = plot, only on hist"),
        ("TYPE = plot\nLABEL_2 = a\n" + POINTS, "9:1: LABEL_2 belongs to no series: there is no"),
        ("TYPE = plot\nY_2 = MAG\n" + POINTS, "11:1: X and Y stand without a number beside"),
        ("TYPE = plot\nMARKER = nose\n" + POINTS, "9:10: no marker 'nose'"),
        ("TYPE = plot\nLINE = wavy\n" + POINTS, "9:8: no line style 'wavy'"),
        ("TYPE = plot\nCOLOR = rad\n" + POINTS, "9:9: no colour 'rad'"),
        ("TYPE = plot\nALPHA = 2\n" + POINTS, "9:9: ALPHA is 2 (allowed: 0 to 1)"),
        ("TYPE = plot\nMARKERSIZE = -1\n" + POINTS, "9:14: -1 is not a size"),
        ("TYPE = plot\nXLIM = 3\n" + POINTS, "9:8: '3' is not low, high"),
        ("TYPE = plot\nXLIM = 3, 3\n" + POINTS, "9:8: 3, 3: two different finite numbers"),
        ("TYPE = plot\nYLIM = 0, 3\nLOG = 1\n" + POINTS, "9:8: LOG is set: both limits must"),
        ("TYPE = plot\nLOG = maybe\n" + POINTS, "9:7: 'maybe' (allowed: True, False"),
        ("TYPE = plot\nFORMAT = gif\n" + POINTS, "9:10: 'gif' (allowed: png, pdf, svg, jpg)"),
        ("TYPE = hist\nBIN = 2.5\nX = MAG", "9:7: BIN is 2.5"),
        ("TYPE = hist\nX = MAG\nTITLE = a @len(MAG)", "10:11: the @ that ends an expression"),
        ("TYPE = hist\nX = MAG\nTITLE = a @MAG@", "10:12: this is a value for each of all rows"),
        ("TYPE = hist\nX = MAG\nTITLE = @meen(MAG)@", "10:10: no function 'meen'"),
        ('TYPE = hist\nX = MAG\nTITLE = a "b" c', "10:9: quotes stand around the whole text"),
    ],
)
def test_complaint_about_a_plot(text, complaint):
    assert complaint_about("[PLOT:p]\n" + text).startswith(complaint)
