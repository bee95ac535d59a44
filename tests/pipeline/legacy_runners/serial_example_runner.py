"""A runner as it was written for ShapePipe 1.x: one call with the files of all numbers."""

from shapepipe.modules.module_decorator import module_runner


@module_runner(
    version="1.0",
    input_module="python_example_runner",
    file_pattern=["numbers", "letters", "pyex_output"],
    file_ext=[".txt", ".txt", ".cat"],
    depends="numpy",
    numbering_scheme="_0",
    run_method="serial",
)
def serial_example_runner(
    input_file_list, run_dirs, file_number_string, config, module_config_sec, w_log
):
    assert file_number_string == ""
    add_input = config.getboolean(module_config_sec, "ADD_INPUT")
    text = ""
    for file_set in input_file_list:
        for path in file_set:
            text += path.split("/")[-1] + "\n"
            if add_input:
                with open(path) as stream:
                    text += stream.read()
    with open(run_dirs["output"] + "/serial_example.txt", "w") as stream:
        stream.write(text)
    w_log.info("%d sets of files", len(input_file_list))
    return None, None
