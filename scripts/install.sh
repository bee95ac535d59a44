# Sourced by quickstart, test and check: finds or installs programs and Python packages.
#
# Programs come from Debian (apt-get, as root or through sudo) or, where a conda environment is
# active, from conda-forge. Python packages go to the active virtual or conda environment, else to
# a private .venv beside this project. Nothing is installed that is already there.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "shapepipe: $*" >&2; }
stop() { say "$@"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

# command names (any of them will do), the Debian package, the conda-forge package ("-": none)
program_row() {
    case $1 in
        sextractor)    echo "sex,source-extractor,sextractor source-extractor astromatic-source-extractor" ;;
        psfex)         echo "psfex psfex astromatic-psfex" ;;
        weightwatcher) echo "ww,weightwatcher,WeightWatcher weightwatcher -" ;;
        swarp)         echo "swarp,SWarp swarp astromatic-swarp" ;;
        mpi)           echo "mpiexec openmpi-bin openmpi" ;;
        slurm)         echo "slurmctld,/usr/sbin/slurmctld slurm-wlm -" ;;
        munge)         echo "munged,/usr/sbin/munged munge -" ;;
        fpack)         echo "fpack libcfitsio-bin cfitsio" ;;
        *)             stop "scripts/install.sh knows no program called $1" ;;
    esac
}

# need_programs NAME...: install those of the programs that are not there
need_programs() {
    local name commands debian conda missing_debian=() missing_conda=()
    for name in "$@"; do
        read -r commands debian conda <<<"$(program_row "$name")"
        any_of "$commands" && continue
        missing_debian+=("$debian")
        if [ "$conda" = - ]; then
            [ -z "${CONDA_PREFIX:-}" ] || say "$name is not on conda-forge; its tests will be skipped"
        else
            missing_conda+=("$conda")
        fi
    done
    missing_debian+=($(venv_packages))
    if [ -n "${CONDA_PREFIX:-}" ]; then
        [ ${#missing_conda[@]} -eq 0 ] || install_conda "${missing_conda[@]}"
    elif [ ${#missing_debian[@]} -gt 0 ]; then
        install_debian "${missing_debian[@]}"
    fi
}

any_of() {
    local command
    for command in ${1//,/ }; do have "$command" && return 0; done
    return 1
}

install_conda() {
    local conda
    [ "${CONDA_DEFAULT_ENV:-base}" != base ] || stop "missing: $*. The active conda environment is" \
        "base; make one of its own first: conda env create -f environment.yml && conda activate shapepipe"
    for conda in mamba conda micromamba; do have "$conda" && break; done
    have "$conda" || stop "missing: $*. Install them with conda from the channel conda-forge"
    say "installing with $conda: $*"
    "$conda" install -y -q -c conda-forge "$@" >&2
}

install_debian() {
    local root=()
    local command="apt-get update && apt-get install -y --no-install-recommends $*"
    have apt-get || stop "missing: $*. Install the programs of these names with the system's" \
        "packages, or use conda: conda env create -f environment.yml && conda activate shapepipe"
    if [ "$(id -u)" -ne 0 ]; then
        root=(sudo)
        have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; } ||
            stop "missing: $*. As root, run:  $command"
    fi
    say "installing Debian packages: $*"
    local log
    log=$(mktemp)
    { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
      "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
          apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; stop "apt-get failed; the last lines are above. The command: $command"; }
    rm -f "$log"
}

# need_python EXTRA...: leaves in PYTHON an interpreter that can import shapepipe, with its extras
need_python() {
    local extras state stamp
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        PYTHON=$VIRTUAL_ENV/bin/python
    elif [ -n "${CONDA_PREFIX:-}" ]; then
        PYTHON=$CONDA_PREFIX/bin/python
    else
        PYTHON=$PROJECT/.venv/bin/python
        "$PYTHON" -m pip --version >/dev/null 2>&1 || make_venv
    fi
    supported "$PYTHON" || stop "$PYTHON is $("$PYTHON" --version 2>&1); Python 3.11 or later is needed"
    export PATH="${PYTHON%/*}:$PATH"
    extras=$(IFS=,; echo "$*")
    stamp=$("$PYTHON" -c 'import sys; print(sys.prefix)')/.shapepipe-installed
    state="$PROJECT $(cksum <"$PROJECT/setup.cfg")"
    if ! grep -qxF "$state $extras" "$stamp" 2>/dev/null; then
        say "installing Python packages into ${PYTHON%/bin/python} (about a minute)"
        install_package "$extras"
        echo "$state $extras" >>"$stamp"
    fi
}

install_package() {
    local try log
    log=$(mktemp)
    for try in 1 2 3; do
        "$PYTHON" -m pip install -q --no-input --disable-pip-version-check \
            --use-pep517 --root-user-action=ignore -e "$PROJECT${1:+[$1]}" \
            >"$log" 2>&1 </dev/null && { rm -f "$log"; return; }
        say "pip failed (try $try of 3):"
        tail -n 20 "$log" >&2
        sleep $((5 * try))
    done
    stop "the Python packages could not be installed; pip's messages are above"
}

make_venv() {
    local base missing
    missing=($(venv_packages))
    [ ${#missing[@]} -eq 0 ] || install_debian "${missing[@]}"
    base=$(find_python)
    [ -n "$base" ] || stop "Python 3.11 or later was not found"
    rm -rf "$PROJECT/.venv"
    "$base" -m venv "$PROJECT/.venv" || stop "$base cannot make $PROJECT/.venv"
}

# Debian packages without which no .venv can be made, if one is to be made; ensurepip is in a
# package of its own for each version of Python
venv_packages() {
    local base
    [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || return 0
    "$PROJECT/.venv/bin/python" -m pip --version >/dev/null 2>&1 && return
    base=$(find_python)
    if [ -z "$base" ]; then
        echo python3 python3-venv
    elif ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        "$base" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

find_python() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        have "$python" && supported "$python" && { command -v "$python"; return; }
    done
    return 0
}

supported() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
