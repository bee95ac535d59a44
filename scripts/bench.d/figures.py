"""Figures of the benchmarks: shown as lines of JSON, and kept beside the script if so asked."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def show(what: str, value: float, unit: str, keep: bool = False) -> None:
    """Print a figure; keep it in the file that is named as the script that runs."""
    record({"what": what, "value": round(value, 4), "unit": unit}, keep)


def tell(line: dict) -> None:
    """Print a line of several figures, to four decimals."""
    record({name: round(value, 4) if isinstance(value, float) else value
            for name, value in line.items()})  # fmt: skip


def record(line: dict, keep: bool = False) -> None:
    """Print a line of several figures; keep it likewise."""
    print(json.dumps(line), flush=True)
    if keep:
        script = Path(sys.argv[0])
        command = " ".join(["python", f"scripts/bench.d/{script.name}", *sys.argv[1:]])
        told = {"date": date.today().isoformat(), "commit": commit(), "processor": processor()}
        with open(script.with_suffix(".jsonl"), "a", encoding="utf-8") as stream:
            stream.write(json.dumps(told | {"command": command} | line) + "\n")


def processor() -> str:
    """Model and number of processors."""
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(models)} x {models[0] if models else 'unknown'}"


def commit() -> str:
    """Short name of the commit; '+' if the tree differs from it."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
