"""Expressions of the selection language, against Python and numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapepipe.astro.selection.evaluate import View, compare, evaluate
from shapepipe.astro.selection.expressions import parse_expression, parse_mask_line
from shapepipe.astro.selection.places import Complaint, Place
from shapepipe.astro.selection.rowsets import Scope, rows_of

RNG = np.random.default_rng(20200606)
N_ROWS = 41
COLUMNS = {
    "A": RNG.normal(20, 2, N_ROWS).astype(">f4"),
    "B_2": RNG.uniform(-3, 3, N_ROWS),
    "FLAGS": RNG.integers(0, 4, N_ROWS).astype(">i2"),
}
MASKS = {"bright": COLUMNS["A"] < 20, "none-at_all": np.zeros(N_ROWS, bool)}
VIEW = View(COLUMNS, MASKS)
SCOPE = Scope({"bright": 1, "none-at_all": 2}, {"later": 9})


def value_of(text, view=VIEW):
    expression = parse_expression(text, Place(1, 1))
    rows_of(expression, SCOPE)
    return evaluate(expression, view)


def place_of_complaint(text):
    with pytest.raises(Complaint) as caught:
        rows_of(parse_expression(text, Place(7, 5)), SCOPE)
    return caught.value.place, caught.value.text


# What the language writes, and the same in Python; `np.float64` divides by zero as arrays do.
blanks = st.sampled_from(["", "", " ", "\t "])
numbers = st.sampled_from(["0", "2", "17.5", ".25", "3.", "1e3", "2.5E-2", "4e+1"]).map(
    lambda text: (text, f"np.float64({text})")
)
columns = st.sampled_from(["A", "B_2", "FLAGS"]).map(lambda name: (name, f"float64({name})"))
ELEMENTWISE = {"sqrt": "np.sqrt", "log": "np.log", "log10": "np.log10", "exp": "np.exp"}
REDUCING = {
    "mean": "np.mean",
    "MEDIAN": "np.median",
    "std": "np.std",
    "var": "np.var",
    "Min": "np.min",
    "max": "np.max",
    "sigma_mad": "mad",
    "mad": "mad",
    "len": "len",
}


def joined(operand):
    """Operands joined without parentheses, so that precedence and order decide."""
    signs = st.sampled_from(["", "", "", "-", "+", "--"])
    piece = st.tuples(signs, operand, blanks, st.sampled_from("+-*/"), blanks)

    def join(pieces):
        texts = ["", ""]
        for index, (sign, both, before, symbol, after) in enumerate(pieces):
            for which in (0, 1):
                link = f"{before}{symbol}{after}" if index else ""
                texts[which] += link + sign + both[which]
        return tuple(texts)

    return st.lists(piece, min_size=1, max_size=4).map(join)


def called(functions, argument):
    return st.tuples(st.sampled_from(sorted(functions)), blanks, argument).map(
        lambda item: (
            f"{item[0]}({item[1]}{item[2][0]}{item[1]})",
            f"{functions[item[0]]}({item[2][1]})",
        )
    )


def nested(operand):
    inside = joined(operand)
    power = st.tuples(inside, inside).map(
        lambda item: (f"pow({item[0][0]}, {item[1][0]})", f"np.power({item[0][1]}, {item[1][1]})")
    )
    parenthesised = inside.map(lambda item: (f"({item[0]})", f"({item[1]})"))
    return st.one_of(parenthesised, called(ELEMENTWISE, inside), power)


def per_row(restricted=False):
    """Expressions that have a value for each row (of the mask `bright`, if restricted)."""
    leaf = columns
    if restricted:
        leaf = columns.map(lambda item: (item[0] + "{bright}", f"({item[1]})[bright]"))
    tree = st.recursive(st.one_of(leaf, numbers), nested, max_leaves=6)
    return st.tuples(leaf, st.sampled_from("+-*/"), tree).map(
        lambda item: tuple(item[0][i] + item[1] + item[2][i] for i in (0, 1))
    )


single = st.one_of(called(REDUCING, per_row()), called(REDUCING, per_row(restricted=True)))
anything = joined(st.one_of(per_row().map(lambda p: tuple(f"({t})" for t in p)), numbers, single))


@settings(max_examples=300, deadline=None)
@given(anything)
def test_any_expression_agrees_with_python(both):
    written, python = both
    names = {
        "np": np,
        "len": len,
        "mad": lambda x: stats.median_abs_deviation(x, scale="normal"),
        "float64": lambda x: x.astype(float),
        "bright": MASKS["bright"],
        **COLUMNS,
    }
    with np.errstate(all="ignore"):
        expected = eval(python, names)
    np.testing.assert_array_equal(value_of(written), expected)


@settings(max_examples=100, deadline=None)
@given(per_row(), st.sampled_from(["<", ">", "<=", ">=", "==", "!="]), st.floats(-1e6, 1e6))
def test_comparisons_agree_with_python(both, symbol, limit):
    expression = parse_mask_line(f"{both[0]} {symbol} {limit!r}", Place(1, 1))
    names = {"left": value_of(both[0]), "limit": limit}
    assert np.array_equal(compare(expression, VIEW), eval(f"left {symbol} limit", names))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="AB1.e+-*/(){},<>=! meanlog\"'@$", max_size=25))
def test_any_text_is_understood_or_refused_at_a_place_within_it(text):
    try:
        parse_expression(text, Place(3, 10))
    except Complaint as complaint:
        assert complaint.place.line == 3
        assert 10 <= complaint.place.column <= 10 + len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A - FLAGS - B_2", lambda a, b, f: a - f - b),
        ("-A + 2", lambda a, b, f: -a + 2),
        ("mean(A*2)", lambda a, b, f: np.mean(a * 2)),
        ("sqrt(mean(A)) + log10(max(A) - min(A))", lambda a, b, f: np.sqrt(a.mean())
         + np.log10(np.ptp(a))),
        ("pow(A - mean(A), 2)", lambda a, b, f: (a - a.mean()) ** 2),
        ("2 * (A + 1) / (3 - 1e-1)", lambda a, b, f: 2 * (a + 1) / 2.9),
        ("mean(A) * std(A) - var(A) / mean(A)", lambda a, b, f: a.mean() * a.std()
         - a.var() / a.mean()),
    ],
)  # fmt: skip
def test_what_version_1_could_not_compute(text, expected):
    arrays = [COLUMNS[name].astype(float) for name in ("A", "B_2", "FLAGS")]
    np.testing.assert_allclose(value_of(text), expected(*arrays), rtol=1e-14)


def test_a_column_can_be_restricted_to_a_mask():
    restricted = value_of("mean(A{bright})")
    assert restricted == COLUMNS["A"][MASKS["bright"]].astype(float).mean()
    assert restricted < value_of("mean(A)")


def test_rows_in_force_hold_for_columns_without_a_mask_only():
    inside = VIEW.within(COLUMNS["FLAGS"] == 0)
    assert len(value_of("A", inside)) == np.count_nonzero(COLUMNS["FLAGS"] == 0)
    assert value_of("len(A{bright})", inside) == np.count_nonzero(MASKS["bright"])


def test_functions_of_no_rows():
    for name in ("mean", "median", "std", "var", "sigma_mad", "min", "max"):
        assert np.isnan(value_of(f"{name}(A{{none-at_all}})"))
    assert value_of("len(A{none-at_all})") == 0
    assert value_of("mode(A{none-at_all})") == -1
    assert np.isnan(value_of("homogen(A{none-at_all}, 4)"))


def test_column_names_are_found_whatever_their_case_if_there_is_only_one():
    assert value_of("mean(a)") == value_of("mean(A)")
    two = View({"Mag": np.ones(3), "MAG": np.full(3, 2.0)}, {})
    assert value_of("mean(MAG)", two) == 2
    with pytest.raises(Complaint, match="no column 'mag'; did you mean"):
        value_of("mean(mag)", two)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("meen(A)", 5, "no function 'meen'; did you mean mean"),
        ("2 * nosuch(A)", 9, "no function 'nosuch'"),
        ("A{brigt}", 5, "no mask 'brigt'; did you mean bright?"),
        ("A{later}", 5, "mask 'later' is defined only at line 9; move it above"),
        ("pow(A)", 5, "pow takes 2 argument(s), not 1"),
        ("homogen(A)", 5, "homogen takes 2 or 3 argument(s), not 1"),
        ("mean(3 + 4)", 10, "mean needs a value per row, not one number"),
        ("homogen(A, B_2)", 16, "the last argument of homogen is one number"),
        ("A + B_2{bright}", 5, "values of different rows side by side: all rows and rows of"),
        ("A ** 2", 8, "a power is written pow(a, b)"),
        ("A ^ 2", 7, "a power is written pow(a, b)"),
        ("mean(A", 11, "the line ends here; a parenthesis is not closed"),
        ("A + ", 8, "the line ends here; expected a number"),
        ("A $ 3", 7, "unexpected '$'"),
        ("A B", 7, "unexpected 'B'; expected"),
        ("", 5, "the line ends here; expected a number, a column or function"),
    ],
)
def test_complaints_point_at_the_column_and_say_what_is_allowed(text, column, said):
    place, complaint = place_of_complaint(text)
    assert (place, said in complaint) == (Place(7, column), True), complaint


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("FLAGS = 0", 7, "to compare for equality write =="),
        ("0 < A < 3", 7, "a mask line holds one comparison"),
        ("A > 3 & B > 2", 7, "a mask line holds one comparison"),
        ("A", 2, "the line ends here; expected one of < > <= >= == !="),
        ("{bright", 8, "expected '}'"),
    ],
)
def test_complaints_about_mask_lines(line, column, said):
    with pytest.raises(Complaint) as caught:
        parse_mask_line(line, Place(1, 1))
    assert (caught.value.place, said in caught.value.text) == (Place(1, column), True)


def test_a_function_takes_nothing_from_python():
    for text in ("__import__(A)", "eval(A)", "A.__class__", "'A'", "lambda"):
        with pytest.raises(Complaint):
            value_of(text)


def test_columns_of_text_and_of_stamps_are_refused_in_arithmetic():
    view = View({"NAME": np.array(["a", "b"]), "VIGNET": np.ones((2, 5, 7))}, {})
    with pytest.raises(Complaint, match="NAME does not hold numbers"):
        value_of("NAME + 1", view)
    with pytest.raises(Complaint, match="VIGNET holds 5 x 7 values per row"):
        value_of("VIGNET * 2", view)


def test_division_by_zero_and_bad_logarithms_select_nothing_and_warn_of_nothing():
    zero = View({"Z": np.zeros(3)}, {})
    for text in ("1 / Z > 1e300", "log(Z - 1) > 0", "sqrt(Z - 1) <= 0", "Z / Z != 1"):
        rows = compare(parse_mask_line(text, Place(1, 1)), zero)
        assert rows.tolist() == [text[0] in "1Z"] * 3


def test_homogen_is_0_for_equal_counts_and_100_for_one_full_cell():
    y, x = (side.ravel().astype(float) for side in np.mgrid[:4, :4])
    even = View({"X": x, "Y": y}, {})
    assert value_of("homogen(X, Y, 4)", even) == pytest.approx(0, abs=1e-12)
    assert value_of("homogen(X, 4)", even) == pytest.approx(0, abs=1e-12)
    far = View({"X": np.r_[np.zeros(999), 1.0], "Y": np.r_[np.zeros(999), 1.0]}, {})
    assert value_of("homogen(X, Y, 9)", far) == pytest.approx(100, abs=0.2)


def test_homogen_of_uniform_positions_is_the_poisson_scatter():
    rng = np.random.default_rng(5)
    n, cells = 40_000, 16
    view = View({"X": rng.uniform(size=n), "Y": rng.uniform(size=n)}, {})
    expected = 100 * np.sqrt(n / cells) / (n * np.sqrt((cells - 1) / cells**2))
    assert value_of(f"homogen(X, Y, {cells})", view) == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("cells", ["5", "1", "-4", "0", "4.5", "1/0"])
def test_homogen_refuses_cells_that_make_no_square(cells):
    with pytest.raises(Complaint, match="allowed: a square number from 4"):
        value_of(f"homogen(A, B_2, {cells})")
