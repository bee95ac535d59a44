"""Code blocks of the pages: found, run in order, and compared with what the page shows.

A block of `bash` or `python` is run; a block of `console` behind it shows what is printed. A block
that cannot be run has its reason in front of it: ``<!-- not run: REASON -->``. What the commands
mean is the business of the pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

NOT_RUN = re.compile(r"<!--\s*not run:\s*(\S.*?)\s*-->", re.DOTALL)
MARK = "@@@ block"
ANY = "..."
"""In a block of output: any text within a line, any lines as a line of its own."""
EXACT = 20
"""Whole numbers up to here must be as on the page; larger ones may differ by a fifth."""


@dataclass(frozen=True)
class Block:
    """Code on a page.

    Attributes
    ----------
    page : Path
        Where it stands.
    line : int
        The line of its first fence, from 1.
    language : str
        ``bash`` or ``python``.
    code : str
        Its text.
    printed : str
        What the page says it prints; empty if nothing is said.
    reason : str
        Why it is not run; empty if it is.
    """

    page: Path
    line: int
    language: str
    code: str
    printed: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    """Blocks of `bash` and `python` of a page, in order."""
    found: list[Block] = []
    reason, after_code = "", False
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            said = NOT_RUN.search(token.content)
            reason = said.group(1) if said else ""
        elif token.type == "fence":
            language = token.info.strip()
            if language in ("bash", "python"):
                line = token.map[0] + 1
                found.append(Block(page, line, language, token.content, reason=reason))
            elif language == "console" and after_code:
                last = found.pop()
                found.append(Block(**{**vars(last), "printed": token.content}))
            after_code, reason = language in ("bash", "python"), ""
        elif token.type == "inline":
            after_code = False
    return found


def run_blocks(blocks: list[Block], folder: Path, root: Path, **variables: str) -> list[str]:
    """Run blocks in one shell, which ends at the first that fails.

    Parameters
    ----------
    blocks : list of Block
        Those with a reason are passed over.
    folder : Path
        Where the shell begins.
    root : Path
        The repository: its scripts are found first.
    **variables
        Set in the environment.

    Returns
    -------
    list of str
        What each of the blocks printed; "" for those that are not run.

    Raises
    ------
    RuntimeError
        A command failed; with the end of what was printed.
    """
    path = [str(root / "scripts"), str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash"],
        input=_script(blocks),
        text=True,
        cwd=folder,
        env={
            **os.environ, "PATH": os.pathsep.join(path), "COLUMNS": "200", "MPLBACKEND": "Agg",
            "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    parts = re.split(rf"^{MARK} (\d+)\n", done.stdout, flags=re.MULTILINE)
    printed = {int(n): text for n, text in zip(parts[1::2], parts[2::2], strict=True)}
    if done.returncode:
        last = max(printed, default=0)
        raise RuntimeError(f"{blocks[last]} failed:\n{printed.get(last, done.stdout)[-3000:]}")
    return [printed.get(index, "") for index in range(len(blocks))]


def _script(blocks: list[Block]) -> str:
    """All blocks as one shell script, with a mark before each."""
    lines = ["set -e"]
    for index, block in enumerate(blocks):
        if block.reason:
            continue
        lines.append(f"echo '{MARK} {index}'")
        is_shell = block.language == "bash"
        lines.append(
            block.code if is_shell else f"python <<'END_OF_BLOCK'\n{block.code}END_OF_BLOCK"
        )
    return "\n".join(lines) + "\n"


def is_printed(expected: str, printed: str) -> bool:
    """Whether what was printed is, loosely, what a page shows; see `ANY` and `EXACT`."""
    return _match(_lines(expected), _lines(printed))


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _match(expected: list[str], lines: list[str]) -> bool:
    if not expected:
        return not lines
    if expected[0] == ANY:
        return any(_match(expected[1:], lines[k:]) for k in range(len(lines) + 1))
    return bool(lines) and _line_matches(expected[0], lines[0]) and _match(expected[1:], lines[1:])


def _line_matches(expected: str, line: str) -> bool:
    """Compare word by word; ANY stands for any text."""
    if ANY in expected:
        pattern = ".*".join(_pattern(part) for part in expected.split(ANY))
        return bool(re.fullmatch(pattern, line))
    words, there = expected.split(), line.split()
    return len(words) == len(there) and all(map(_word_matches, words, there))


def _pattern(text: str) -> str:
    """Regular expression for a piece of a line: numbers with a point are any such numbers."""
    return re.sub(r"\\?[+-]?\d+\\\.\d+", r"[+-]?\\d+\\.\\d+", re.escape(text))


def _word_matches(word: str, other: str) -> bool:
    if word == other:
        return True
    number, found = (text.strip("[](),:;%") for text in (word, other))
    try:
        wanted, got = float(number), float(found)
    except ValueError:
        return False
    if "." in number:
        return True
    return wanted > EXACT and abs(got - wanted) <= 0.2 * wanted
