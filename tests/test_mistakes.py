"""What is printed for the mistakes on the page "Ten wrong things" is what stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "mistakes.md"
GOOD = """[DEFAULT]
RUN_NAME = run_mask

[EXECUTION]
MODULE = mask_runner

[FILE]
INPUT_DIR = $SP_RUN/exposures
OUTPUT_DIR = $SP_RUN/output
NUMBERING_SCHEME = -0000000-0

[MASK_RUNNER]
FILE_PATTERN = image, weight, flag
MASK_CONFIG_PATH = $SP_CONFIG/config.mask
USE_EXT_FLAG = True
PREFIX = pipeline
"""


def change(old, new):
    """Edit the configuration."""

    def apply(folder):
        path = folder / "config.ini"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return apply


def rewrite(encode):
    """Store the configuration in other bytes."""

    def apply(folder):
        path = folder / "config.ini"
        path.write_bytes(encode(path.read_text()))

    return apply


def lose_a_weight(folder):
    (folder / "exposures" / "weight-2366993-1.fits").unlink()


def become_a_directory(folder):
    (folder / "config.ini").unlink()
    (folder / "config.ini").mkdir()


#: title on the page -> what is done wrong, verb, exit status
MISTAKES = {
    "A wrong directory": (change("/exposures", "/exposure"), "plan", 2),
    "A wrong numbering scheme": (change("-0000000-0", "-000-000"), "plan", 2),
    "A weight is missing": (lose_a_weight, "plan", 0),
    "A typo in an option": (change("USE_EXT_FLAG", "USE_EXT_FLAGS"), "check", 2),
    "A forgotten environment variable": (change("$SP_RUN", "$SP_DATA"), "check", 2),
    "An option of an earlier version": (
        change("PREFIX = pipeline", "SUFFIX = pipeline\nRUN_METHOD = parallel"),
        "check",
        0,
    ),
    "Windows line ends": (rewrite(lambda t: t.replace("\n", "\r\n").encode()), "check", 0),
    "A byte-order mark": (rewrite(lambda t: t.encode("utf-8-sig")), "check", 0),
    "A tab before an option": (change("USE_EXT_FLAG", "\tUSE_EXT_FLAG"), "check", 2),
    "An INI file that is a directory": (become_a_directory, "check", 2),
}


def printed(folder: Path, title: str) -> tuple[str, int]:
    """Make a mistake and return what is printed, and the exit status."""
    apply, verb, _ = MISTAKES[title]
    (folder / "exposures").mkdir()
    (folder / "output").mkdir()
    (folder / "config.mask").write_text("[BORDER_PARAMETERS]\nBORDER_MAKE = True\n")
    for pattern in ("image", "weight", "flag"):
        for ccd in range(3):
            (folder / "exposures" / f"{pattern}-2366993-{ccd}.fits").touch()
    (folder / "config.ini").write_text(GOOD)
    apply(folder)
    environment = {name: text for name, text in os.environ.items() if name != "SP_DATA"}
    done = subprocess.run(
        [sys.executable, "-m", "shapepipe", verb, "-c", "config.ini"],
        cwd=folder,
        env={**environment, "SP_RUN": str(folder), "SP_CONFIG": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    lines = (done.stdout + done.stderr).replace(str(folder), "/data").splitlines()
    text = "\n".join(line.rstrip() for line in lines)
    return re.sub(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", "2026-01-31_20-15-00", text), done.returncode


def block(title: str) -> str:
    """What the page shows for a mistake."""
    found = re.search(rf"^## {title}$.*?^```text\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert found, f"the page has no section {title!r} with a block of text"
    return found.group(1).rstrip("\n")


@pytest.mark.parametrize("title", MISTAKES)
def test_page_shows_what_is_printed(title):
    with TemporaryDirectory() as short:  # a table would be folded for a long path
        text, status = printed(Path(short), title)
    assert text == block(title)
    assert status == MISTAKES[title][2]


def test_page_has_all_mistakes_and_the_file_that_they_start_from():
    assert re.findall(r"^## (.+)$", PAGE.read_text(), re.M) == list(MISTAKES)
    assert re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.S).group(1) == GOOD
