"""A runner as it was written for ShapePipe 1.x: a program run on each set of files."""

from shapepipe.modules.module_decorator import module_runner
from shapepipe.pipeline.execute import execute


@module_runner(
    version="1.0",
    input_module=["python_example_runner"],
    file_pattern=["numbers", "letters", "pyex_output"],
    file_ext=[".txt", ".txt", ".cat"],
    executes=["head"],
    numbering_scheme="_0",
)
def execute_example_runner(
    input_file_list, run_dirs, file_number_string, config, module_config_sec, w_log
):
    command_line = "head -n 1 {} {} {}".format(*input_file_list)
    stdout, stderr = execute(command_line)
    with open(f"{run_dirs['output']}/head_output{file_number_string}.txt", "w") as stream:
        stream.write("\n".join(line for line in stdout.splitlines() if "==>" not in line))
    return stdout, stderr
