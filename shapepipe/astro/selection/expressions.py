"""The expressions of the selection language: grammar, syntax tree and parser.

Text becomes a tree here and nothing is computed: `functions` says which functions exist, `rowsets`
checks which rows an expression covers, `evaluate` computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, v_args

from shapepipe.astro.selection.places import Complaint, Place

GRAMMAR = r"""
mask_line: sum COMPARE sum        -> comparison
         | "{" MASK_NAME "}"      -> inherit
         | NO_SAVE                -> no_save

?sum: product
    | sum "+" product             -> add
    | sum "-" product             -> subtract

?product: signed
        | product "*" signed      -> multiply
        | product "/" signed      -> divide

?signed: atom
       | "-" signed               -> negative
       | "+" signed               -> positive

?atom: NUMBER                     -> number
     | NAME                       -> column
     | NAME "{" MASK_NAME "}"     -> restricted
     | NAME "(" sum ("," sum)* ")" -> call
     | "(" sum ")"                -> positive

COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">"
NO_SAVE.2: /NO_SAVE(?![A-Za-z0-9_])/i
NUMBER: /(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
NAME: /[A-Za-z_][A-Za-z0-9_]*/
MASK_NAME: /[A-Za-z0-9_-]+/
%ignore /\s+/
"""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written."""

    place: Place
    value: float


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the catalogue, on the rows in force or on those of `mask`."""

    place: Place
    name: str
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Negative:
    """The operand with its sign changed."""

    place: Place
    operand: Expression


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands joined by one of ``+ - * /``."""

    place: Place
    symbol: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one or more expressions; the name is in lower case."""

    place: Place
    name: str
    arguments: tuple[Expression, ...]


Expression = Number | Column | Negative | Operation | Call


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two expressions compared, row by row."""

    place: Place
    symbol: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Inherit:
    """The line ``{other}`` of a mask: only rows of that mask are looked at."""

    place: Place
    mask: str


@dataclass(frozen=True, slots=True)
class NoSave:
    """The line ``NO_SAVE`` of a mask: used by others, not written."""

    place: Place


def parse_expression(text: str, place: Place) -> Expression:
    """Parse an expression that starts at `place` of its file.

    Raises
    ------
    Complaint
        At the first character that cannot be understood.
    """
    return _parse(text, place, "sum")


def parse_mask_line(text: str, place: Place) -> Comparison | Inherit | NoSave:
    """Parse one line of a mask section that starts at `place` of its file.

    Raises
    ------
    Complaint
        At the first character that cannot be understood.
    """
    return _parse(text, place, "mask_line")


def _parse(text: str, place: Place, start: str):
    try:
        tree = _PARSER.parse(text, start=start)
    except UnexpectedInput as error:
        raise _explain(error, text, place) from None
    return _Build(place).transform(tree)


@v_args(meta=True)
class _Build(Transformer):
    """Parse tree to syntax tree, with places counted in the file instead of the snippet."""

    def __init__(self, start: Place):
        super().__init__()
        self._start = start

    def _place(self, meta) -> Place:
        return Place(self._start.line, self._start.column + meta.start_pos)

    def comparison(self, meta, children):
        left, symbol, right = children
        return Comparison(self._place(meta), str(symbol), left, right)

    def inherit(self, meta, children):
        return Inherit(self._place(meta), str(children[0]))

    def no_save(self, meta, _):
        return NoSave(self._place(meta))

    def number(self, meta, children):
        return Number(self._place(meta), float(children[0]))

    def column(self, meta, children):
        return Column(self._place(meta), str(children[0]))

    def restricted(self, meta, children):
        return Column(self._place(meta), str(children[0]), str(children[1]))

    def call(self, meta, children):
        name, *arguments = children
        return Call(self._place(meta), str(name).lower(), tuple(arguments))

    def positive(self, _, children):
        return children[0]

    def negative(self, meta, children):
        return Negative(self._place(meta), children[0])

    def _operation(self, symbol, meta, children):
        return Operation(self._place(meta), symbol, *children)

    def add(self, meta, children):
        return self._operation("+", meta, children)

    def subtract(self, meta, children):
        return self._operation("-", meta, children)

    def multiply(self, meta, children):
        return self._operation("*", meta, children)

    def divide(self, meta, children):
        return self._operation("/", meta, children)


def _explain(error: UnexpectedInput, text: str, place: Place) -> Complaint:
    """Say in the user's words what the parser did not expect."""
    token = getattr(error, "token", None)
    at_end = token is not None and token.type == "$END"
    position = len(text.rstrip()) if at_end else error.pos_in_stream
    found = "the line ends here" if at_end else f"unexpected {_found(error, token, text)!r}"
    wanted = getattr(error, "accepts", None) or getattr(error, "expected", None) or error.allowed
    return Complaint(
        Place(place.line, place.column + position), f"{found}; {_advice(text, position, wanted)}"
    )


def _found(error: UnexpectedInput, token: Token | None, text: str) -> str:
    if isinstance(error, UnexpectedCharacters) or token is None:
        return text[error.pos_in_stream]
    return str(token)


def _advice(text: str, position: int, wanted: set[str]) -> str:
    before, rest = text[:position], text[position:]
    if rest.startswith("=") and "COMPARE" in wanted:
        return "to compare for equality write =="
    if rest.startswith("^") or (rest.startswith("*") and before.endswith("*")):
        return "a power is written pow(a, b)"
    if before.count("(") > before.count(")") and rest[:1] in ("", *_COMPARING):
        return "a parenthesis is not closed"
    if rest[:1] in ("&", "|") or (rest[:1] in _COMPARING and any(c in before for c in "<>=!")):
        return "a mask line holds one comparison; all lines of a mask must hold"
    if "STAR" in wanted:  # a value stands before: what could make it another value is moot
        wanted = wanted - {"LPAR", "LBRACE"}
    words = dict.fromkeys(word for name, word in _WORDS.items() if name in wanted)
    return f"expected {', '.join(words)}"


_COMPARING = ("<", ">", "=", "!")
_WORDS = {
    "NUMBER": "a number",
    "NAME": "a column or function",
    "MASK_NAME": "the name of a mask",
    "LBRACE": "{mask}",
    "LPAR": "'('",
    "RPAR": "')'",
    "RBRACE": "'}'",
    "COMMA": "','",
    "STAR": "an operator",
    "COMPARE": "one of < > <= >= == !=",
    "$END": "the end of the line",
}
_PARSER = Lark(GRAMMAR, parser="lalr", start=["mask_line", "sum"], propagate_positions=True)
