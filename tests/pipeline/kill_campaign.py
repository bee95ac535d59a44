"""Kill a run at random moments, continue it to its end, compare with an undisturbed run.

    python tests/pipeline/kill_campaign.py -c INI --kills 50 --mode smp --victim head

Both runs go to the OUTPUT_DIR of the INI file, as `campaign_reference` and `campaign_killed`. The
head (or rank 0), or one of the workers (or another rank), gets SIGKILL. Under Slurm, whose
configuration SLURM_CONF names, the heads are the elements of the array; several are killed in each
submission, and what is left is submitted again. When the killed run reaches its end before all
kills are spent, it is compared, removed and begun again. What must hold:

- the products are the same, byte for byte (but for header cards named with --ignore);
- every unit is reported to have come to the same: none as lost, none is missing;
- no unit that was recorded as done is done again, unless its inputs or options are others;
- no process of the run is left after its head was killed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from shapepipe.pipeline.accounting import newest_lines
from shapepipe.pipeline.config import load_config
from shapepipe.pipeline.records import RunDirectory

MARK = "SHAPEPIPE_CAMPAIGN"
PATIENCE = 15.0
"""Seconds within which all processes of a killed run must be gone."""
DONE = ("ok", "empty")
NOTHING_LEFT = 2
"""Exit status of a submission that has nothing to submit."""
ATTEMPTS = 20
"""Undisturbed continuations within which a run must come to its end."""


class Campaign:
    """One configuration, killed again and again.

    Parameters
    ----------
    config : path
        INI file whose chain ends well when nobody disturbs it.
    mode : {'smp', 'mpi', 'slurm'}
        Pool.
    victim : {'head', 'worker'}
        Whom to kill.
    seed : int
        Of the moments and of the choice among the workers.
    ranks : int
        Number of ranks under mpi.
    ignore : sequence of str
        FITS header keywords whose cards may differ.
    say : callable
        Told of every event.
    """

    def __init__(self, config, mode="smp", victim="head", seed=1, ranks=3, ignore=(), say=None):
        self.config, self.mode, self.victim = Path(config), mode, victim
        self.ranks, self.ignore = ranks, [word.ljust(8).encode() for word in ignore]
        self.random, self.say = random.Random(seed), say or (lambda text: None)
        self.mark = uuid.uuid4().hex
        self.output = load_config(self.config).file.output_dir
        self.most, self.usual, self.units = 0, 0.0, 0
        self.starts = self.kills = self.missed = self.ended = self.compared = 0
        self.complaints: list[str] = []

    def run(self, kills: int) -> list[str]:
        """Spend all kills; return what went wrong."""
        self.run_undisturbed()
        return self.complaints or self.spend(kills)

    def run_undisturbed(self) -> None:
        """Make what the other runs are compared with."""
        shutil.rmtree(self.output / "campaign_reference", ignore_errors=True)
        began = time.monotonic()
        if self.start("campaign_reference", self.alone).wait() != 0:
            self.complaints.append("the undisturbed run does not end well")
        self.usual = time.monotonic() - began
        self.units = len(self.outcomes("campaign_reference"))
        self.say(f"undisturbed: {self.usual:.1f} s, {self.units} units")

    def spend(self, kills: int) -> list[str]:
        """Begin a run, kill it so often, go on to its end; return what went wrong."""
        shutil.rmtree(self.output / "campaign_killed", ignore_errors=True)
        self.most = self.kills + kills
        while self.kills < self.most and not self.complaints:
            if self.disturb():
                self.compare()
                shutil.rmtree(self.output / "campaign_killed")
        for _ in range(ATTEMPTS):
            if self.ends_undisturbed():
                self.compare()
                break
        else:
            self.complaints.append(f"not finished after {ATTEMPTS} undisturbed continuations")
        return self.complaints

    @property
    def alone(self) -> str:
        """Mode of the run that nobody disturbs."""
        return "smp" if self.mode == "slurm" else self.mode

    def ends_undisturbed(self) -> bool:
        """Continue the run without a kill; tell whether it came to its end."""
        if self.mode != "slurm":
            return self.start("campaign_killed", self.mode).wait() == 0
        if self.submit() == NOTHING_LEFT:
            return True
        while in_queue():
            time.sleep(0.2)
        return False

    def submit(self) -> int:
        """Submit what is left; tell how the command ended."""
        words = ("submit", "--on", "slurm", "--shards", str(self.ranks))
        return self.start("campaign_killed", "smp", words).wait()

    def start(self, name: str, mode: str, verb=("run",)) -> subprocess.Popen:
        """Start or continue a run."""
        words = [sys.executable, "-m", "shapepipe", *verb, "-c", str(self.config)]
        for value in (f"RUN_NAME={name}", "RUN_DATETIME=False", "VERBOSE=False"):
            words += ["-o", f"DEFAULT:{value}"]
        words += ["-o", f"EXECUTION:MODE={mode}"]
        if mode == "mpi":
            words = ["mpiexec", "-n", str(self.ranks), *words]
        self.starts += 1
        return subprocess.Popen(
            words, env={**os.environ, MARK: self.mark}, stdout=-3, stderr=-3, start_new_session=True
        )

    def disturb(self) -> bool:
        """Start the run and kill at random moments; tell whether it came to its end first.

        A run whose head is killed has ended; of one that goes on, more workers are killed.
        """
        if self.mode == "slurm":
            return self.disturb_queue()
        process = self.start("campaign_killed", self.mode)
        before = self.kills
        while self.kills < self.most and not self.ends_before_moment(process):
            target = self.choose(process)
            if target is None:
                self.missed += 1
            else:
                self.kill(target)
            if self.victim == "head":
                break
        if process.wait(60 + 20 * self.usual) == 0 and self.kills == before:
            self.ended += 1
            return True
        self.check_orphans()
        return False

    def disturb_queue(self) -> bool:
        """Submit the run and kill as long as there is something in the queue."""
        if self.submit() == NOTHING_LEFT:
            self.ended += 1
            return True
        while in_queue() and self.kills < self.most:
            time.sleep(self.random.uniform(0.0, 0.6) * self.usual)
            target = self.choose(None)
            if target is not None:
                self.kill(target)
        while in_queue():
            time.sleep(0.2)
        self.check_orphans()
        return False

    def ends_before_moment(self, process) -> bool:
        """Wait for a random moment; tell whether the process has ended before.

        The moment is when so many more units are recorded, and a little later, lest on a busy
        machine all kills strike the start of a run, or none strikes before its end. Every other
        time that all units are wanted the run is left alone: otherwise it might never end.
        """
        done = len(self.outcomes("campaign_killed"))
        wanted = self.random.randint(done, max(done, self.units))
        pause = self.random.uniform(0.0, 0.3 if wanted == done else 2 / max(1, self.units))
        if done == self.units or (wanted == self.units and self.random.random() < 0.5):
            process.wait(60 + 20 * self.usual)
        while process.poll() is None and len(self.outcomes("campaign_killed")) < wanted:
            time.sleep(0.02)
        try:
            process.wait(pause * self.usual)
        except subprocess.TimeoutExpired:
            return False
        return True

    def outcomes(self, run: str) -> dict[tuple[str, str], str]:
        """What each unit of a run that was done has come to."""
        found = {}
        for line in RunDirectory(self.output / run).lines():
            if line.get("status") in DONE:
                found[line["step"], line["number"]] = line["status"]
        return found

    def choose(self, process) -> int | None:
        """Process to kill."""
        if self.mode == "smp" and self.victim == "head":
            return process.pid if process.poll() is None else None
        words = {pid: (line, environ) for pid, line, environ in self.processes()}
        workers = [pid for pid, (line, _) in words.items() if b"pipeline.worker" in line]
        ranks = {pid: rank_of(environ) for pid, (line, environ) in words.items()
                 if pid not in workers and b"mpiexec" not in line}  # fmt: skip
        if self.mode == "smp" or (self.mode == "slurm" and self.victim == "worker"):
            chosen = workers
        elif self.mode == "slurm":
            chosen = [pid for pid, (line, _) in words.items() if b"--submission" in line]
        elif self.victim == "head":
            chosen = [pid for pid, rank in ranks.items() if rank == 0]
        else:
            chosen = workers + [pid for pid, rank in ranks.items() if rank]
        return self.random.choice(sorted(chosen)) if chosen else None

    def kill(self, pid: int) -> None:
        """Send SIGKILL."""
        try:
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
            done = len(self.outcomes("campaign_killed"))
            self.say(f"kill {self.kills}: process {pid}, {done} of {self.units} units recorded")
        except ProcessLookupError:
            self.missed += 1

    def processes(self) -> list[tuple[int, bytes, bytes]]:
        """Living processes of this campaign: number, command line, environment."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environ = (path / "environ").read_bytes()
                if f"{MARK}={self.mark}".encode() in environ:
                    found.append((int(path.name), (path / "cmdline").read_bytes(), environ))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return [item for item in found if item[1]]

    def check_orphans(self) -> None:
        """Wait until no process of the run is left."""
        until = time.monotonic() + PATIENCE
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.02)
        for pid, line, _ in left:
            text = line.replace(b"\0", b" ").decode(errors="replace")[:100]
            self.complaints.append(f"process {pid} is left after kill {self.kills}: {text}")
            os.kill(pid, signal.SIGKILL)

    def compare(self) -> None:
        """Compare products and records with what they must be."""
        expected, found = self.products("campaign_reference"), self.products("campaign_killed")
        for name in sorted(expected.keys() | found.keys()):
            if name not in found or name not in expected:
                where = "missing" if name not in found else "made by the killed run alone"
                self.complaints.append(f"{name}: {where}")
            elif self.content(expected[name]) != self.content(found[name]):
                self.complaints.append(f"{name}: differs")
        directory = RunDirectory(self.output / "campaign_killed")
        self.complaints += done_twice(directory)
        self.complaints += self.differences(directory)
        self.compared += 1
        self.say(f"compared {len(expected)} products: {len(self.complaints)} complaints")

    def differences(self, directory: RunDirectory) -> list[str]:
        """Units that are reported to have come to something else."""
        expected = newest(RunDirectory(self.output / "campaign_reference"))
        found = newest(directory)
        return [
            f"{' '.join(unit)}: {found.get(unit)} is reported, not {expected.get(unit)}"
            for unit in sorted(expected.keys() | found.keys())
            if found.get(unit) != expected.get(unit)
        ]

    def products(self, run: str) -> dict[str, Path]:
        """Files in the output directories of all steps."""
        top = self.output / run
        return {str(path.relative_to(top)): path for path in top.glob("*/output/**/*")
                if path.is_file()}  # fmt: skip

    def content(self, path: Path) -> bytes:
        """Bytes of a product, without the cards that are to be ignored."""
        data = path.read_bytes()
        for word in self.ignore:
            data = re.sub(re.escape(word) + b"=.{71}", b" " * 80, data, flags=re.DOTALL)
        return data


def in_queue() -> bool:
    """Whether Slurm has something to do."""
    return bool(subprocess.run(["squeue", "-h"], capture_output=True, check=True).stdout)


def rank_of(environ: bytes) -> int | None:
    """Rank of a process in its MPI world."""
    found = re.search(rb"(?:OMPI_COMM_WORLD_RANK|PMI_RANK)=(\d+)", environ)
    return int(found.group(1)) if found else None


def newest(directory: RunDirectory) -> dict[tuple[str, str], str]:
    """What `shapepipe report` says that each unit has come to."""
    return {(line["step"], line["number"]): line["status"] for line in newest_lines(directory)}


def done_twice(directory: RunDirectory) -> list[str]:
    """Units that were done again although nothing that counts had changed."""
    last: dict[tuple[str, str], dict] = {}
    complaints = []
    for line in directory.lines():
        if line.get("status") in DONE:
            key = line["step"], line["number"]
            before = last.get(key)
            if before and (before["in"], before["print"]) == (line["in"], line["print"]):
                complaints.append(f"{' '.join(key)} was done again after it had been recorded")
            last[key] = line
    return complaints


def main() -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--mode", choices=("smp", "mpi", "slurm"), default="smp")
    parser.add_argument("--victim", choices=("head", "worker"), default="head")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=3, help="ranks, or shards under Slurm")
    parser.add_argument("--ignore", nargs="*", default=(), metavar="KEYWORD")
    given = parser.parse_args()
    campaign = Campaign(
        given.config, given.mode, given.victim, given.seed, given.ranks, given.ignore,
        say=lambda text: sys.stdout.write(f"{text}\n"),
    )  # fmt: skip
    complaints = campaign.run(given.kills)
    for text in complaints:
        sys.stdout.write(f"WRONG: {text}\n")
    sys.stdout.write(
        f"{given.mode}, {given.victim}: {campaign.kills} kills in {campaign.starts} starts, "
        f"{campaign.ended} runs ended before a kill, {campaign.missed} missed, "
        f"{campaign.compared} comparisons; "
        f"{len(complaints)} complaints\n"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
