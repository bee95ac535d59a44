"""Try a runner on files, without an INI file: for the tests of runners, here and elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from shapepipe.errors import ConfigurationError
from shapepipe.pipeline.job import Outcome, StepContext, Task, run_job, share_name
from shapepipe.pipeline.options import check_values, nearest, path_kind, spellings
from shapepipe.pipeline.program import find_program
from shapepipe.pipeline.runner import Runner


def trial(
    runner: Runner,
    inputs: dict | None = None,
    options: dict[str, str] | None = None,
    number: str = "",
    folder: Path | str = ".",
    share: tuple[int, int] | None = None,
) -> Outcome:
    """Run one job in this process.

    Parameters
    ----------
    runner : Runner
        The decorated function.
    inputs : dict
        Role -> path, or role -> {number: path} for gathered inputs and scope `all`.
    options : dict of str to str
        INI options of the runner's section, as text. An address must be a directory here.
    number : str
        Number string of the unit, with its separators.
    folder : path
        Products go to `folder/output`, logs of failures to `folder/logs`.
    share : tuple of int, optional
        For scope `rows`: index of the share and number of shares.

    Returns
    -------
    Outcome
        With `products` as paths.

    Raises
    ------
    ConfigurationError
        When an option is wrong.
    """
    folder = Path(folder)
    opts = _options(runner, options or {})
    for name in ("output", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    inputs = inputs or {}
    single = {role: str(path) for role, path in inputs.items() if not isinstance(path, dict)}
    gathered = {role: {key: str(value) for key, value in paths.items()}
                for role, paths in inputs.items() if isinstance(paths, dict)}  # fmt: skip
    context = StepContext(
        runner=runner,
        opts=opts,
        roles=tuple(single),
        output=str(folder / "output"),
        scratch=str(folder / "scratch"),
        logs=str(folder / "logs"),
        gathered=gathered,
        programs=_programs(runner, opts),
    )
    unit = share_name(number, *share) if share else number
    task = Task(0, 0, unit, tuple(single.values()), f"trial{number}", share)
    outcome = run_job(context, task)
    shutil.rmtree(folder / "scratch")
    return outcome._replace(products=tuple(folder / "output" / name for name in outcome.products))


def _options(runner: Runner, texts: dict[str, str]):
    names = spellings(runner.options)
    if runner.options.model_config.get("extra") == "allow":
        names = {key.lower(): key.lower() for key in texts} | names
    unknown = [key for key in texts if key.lower() not in names]
    if unknown:
        raise ConfigurationError([f"{key}: unknown option{nearest(key, names)}" for key in unknown])
    opts, complaints = check_values(
        runner.options, {names[key.lower()]: str(text) for key, text in texts.items()}
    )
    if complaints:
        raise ConfigurationError([f"{name.upper()}: {text}" for name, text in complaints.items()])
    places = {
        name: tuple(Path(place) for place in getattr(opts, name))
        for name, field in runner.options.model_fields.items()
        if path_kind(field) and path_kind(field).name == "address" and getattr(opts, name)
    }
    return opts.model_copy(update=places)


def _programs(runner: Runner, opts) -> dict[str, str]:
    return {
        item.name: find_program(getattr(opts, item.option, None) or item.name,
                                (item.name, *item.alternatives)) or item.name
        for item in runner.programs
    }  # fmt: skip
