"""A runner as it was written for ShapePipe 1.x: work in Python on each file."""

from shapepipe.modules.module_decorator import module_runner


@module_runner(
    version="1.0",
    file_pattern=["numbers", "letters"],
    file_ext=[".txt", ".txt"],
    depends=["numpy>=1.14", "configparser"],
    numbering_scheme="_0",
    run_method="parallel",
)
def python_example_runner(
    input_file_list, run_dirs, file_number_string, config, module_config_sec, w_log
):
    message = config.get(module_config_sec, "MESSAGE")
    output_path = f"{run_dirs['output']}/pyex_output{file_number_string}.cat"
    w_log.info(f"Reading {input_file_list}")
    words = []
    for path in input_file_list:
        with open(path) as stream:
            words.append(stream.read().split())
    with open(output_path, "w") as stream:
        for number, letter in zip(*words, strict=True):
            stream.write(f"{message} {letter} {number}\n")
    return f"wrote {output_path}", None
