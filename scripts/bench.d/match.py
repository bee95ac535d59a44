"""Time to match and pair file names, for 10^3 to 10^6 units, and the exponent of its growth.

    python scripts/bench.d/match.py [LARGEST]

The names are given, so that no directory is read: two patterns, two numbers in each name, and as
many names again that belong to neither. An exponent of 1 means that twice the files take twice the
time.
"""

import math
import sys
import time

from figures import show

from shapepipe.pipeline.match import Chosen, Listing, find_files, join_numbers


class Names(Listing):
    """A listing of names that were made up."""

    def __init__(self, names: list[str]):
        super().__init__()
        self._names = names

    def below(self, folder: str) -> list[tuple[str, list[str]]]:
        """All names, in the one directory."""
        return [(folder, self._names)]


def main(largest: int = 1_000_000) -> None:
    """Print one line of JSON for each figure."""
    times = {}
    n = 1000
    while n <= largest:
        times[n] = measure(n)
        show(f"match {2 * n} of {4 * n} names, {n} units", times[n], "s")
        n *= 10
    first, last = min(times), max(times)
    if first < last:
        power = math.log(times[last] / times[first]) / math.log(last / first)
        show(f"exponent from {first} to {last} units", power, "")


def measure(n: int) -> float:
    """CPU seconds for `n` units; a tenth of them is asked for by number."""
    numbers = [f"-{2_000_000 + k // 40}-{k % 40}" for k in range(n)]
    kinds = ("image", "weight", "image_old.bak", "catalogue")
    names = Names([f"{kind}{number}.fits" for kind in kinds for number in numbers])
    start = time.process_time()
    found = [find_files(["survey"], p, ".fits", "-0000000-0", listing=names) for p in kinds[:2]]
    complete, lacking = join_numbers([f.index for f in found], [f.index for f in found])
    chosen = Chosen(numbers[::10])
    taken = sum(number in chosen for number in complete)
    assert (len(complete), len(lacking), taken) == (n, 0, len(numbers[::10]))
    return time.process_time() - start


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
