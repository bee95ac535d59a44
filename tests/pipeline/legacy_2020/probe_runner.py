"""A runner of 2020: five arguments, its section by name; it reports what it was given."""

import json
import os

from shapepipe.modules.module_decorator import module_runner


@module_runner(file_pattern="numbers", file_ext=".txt", numbering_scheme="_0")
def probe_runner(input_file_list, run_dirs, file_number_string, config, w_log):
    section = "PROBE_RUNNER"
    found = {
        "number": file_number_string,
        "files": [os.path.basename(path) for path in input_file_list],
        "dirs": {name: os.path.isdir(path) for name, path in run_dirs.items() if name != "run_log"},
        "run_log": os.path.basename(run_dirs["run_log"]),
        "text": config.get(section, "TEXT"),
        "path": config.getexpanded(section, "PATH_OPTION"),
        "list": config.getlist(section, "LIST"),
        "int": config.getint(section, "INT"),
        "float": config.getfloat(section, "FLOAT"),
        "boolean": config.getboolean(section, "BOOLEAN"),
        "has": [config.has_option(section, name) for name in ("INT", "ABSENT")],
        "batch": config.get("JOB", "SMP_BATCH_SIZE"),
    }
    os.makedirs(run_dirs["output"] + "/deep")
    open(run_dirs["tmp"] + "/rubbish", "w").close()
    with open(f"{run_dirs['output']}/deep/probe{file_number_string}.json", "w") as stream:
        json.dump(found, stream)
    stderr = config.get(section, "COMPLAINT") if config.has_option(section, "COMPLAINT") else ""
    return "", stderr
