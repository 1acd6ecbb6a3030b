# shellcheck shell=bash
# Sourced by the other scripts: where the project is, which Python runs it, how it is installed, how errors look.
#
# The Python is the one that MASKRCNN_PYTHON names; else the project's own .venv; else python3, where MindSpore 2.10 and
# all else that pyproject.toml requires is installed for it. prepare_environment makes the .venv if there is none of
# these.

set +o posix # `sh script` may be bash in another dress
set -euo pipefail

SCRIPTS="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname -- "$SCRIPTS")"
VENV="$ROOT/.venv"
export PYTHONPATH="$ROOT/src${PYTHONPATH:+:$PYTHONPATH}"
export GLOG_v="${GLOG_v:-3}" # MindSpore's own errors only: its compiler warns about things no user can act on

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

need_file() { # NAME PATH
    [[ -f "$2" ]] || fail "$1 '$2' does not exist or is not a file"
}

need_folder() { # NAME PATH
    [[ -d "$2" ]] || fail "$1 '$2' does not exist or is not a folder"
}

# parse_arguments USAGE ARGUMENT...: the plain arguments go to ARGUMENTS, DIR of `--output DIR` to OUTPUT, all other
# flags to FLAGS. Plain arguments come first.
# shellcheck disable=SC2034 # read by the scripts that source this
parse_arguments() {
    local usage="$1"
    shift
    ARGUMENTS=()
    FLAGS=()
    while (($# > 0)) && [[ "$1" != -* ]]; do
        ARGUMENTS+=("$1")
        shift
    done
    while (($# > 0)); do
        case "$1" in
            -h | --help)
                printf '%s\n' "$usage"
                exit 0
                ;;
            --output)
                [[ -n "${2:-}" ]] || fail "--output needs a folder"
                OUTPUT="$2"
                shift
                ;;
            --output=?*) OUTPUT="${1#--output=}" ;;
            *) FLAGS+=("$1") ;;
        esac
        shift
    done
}

# take_device_id COUNT: a number as argument COUNT or later, which is no folder, moves from ARGUMENTS to DEVICE as a flag.
# shellcheck disable=SC2034 # read by the scripts that source this
take_device_id() {
    local last=$((${#ARGUMENTS[@]} - 1))
    DEVICE=()
    if ((last + 1 >= $1)) && [[ "${ARGUMENTS[last]}" =~ ^[0-9]+$ && ! -d "${ARGUMENTS[last]}" ]]; then
        DEVICE=(--device_id "${ARGUMENTS[last]}")
        unset "ARGUMENTS[last]"
    fi
}

# training_settings PRETRAINED_CKPT DATA_PATH: the flags of train.py that they and OUTPUT mean, as SETTINGS; '' is none.
# shellcheck disable=SC2034 # read by the scripts that source this
training_settings() {
    SETTINGS=(--save_checkpoint_path "$OUTPUT/checkpoint" --log_dir "$OUTPUT")
    if [[ -n "$1" ]]; then
        [[ ! -d "$1" ]] || fail "PRETRAINED_CKPT '$1' is a folder; to train on it from scratch, put '' before it"
        need_file PRETRAINED_CKPT "$1"
        SETTINGS+=(--pre_trained "$1")
    fi
    if [[ -n "$2" ]]; then
        need_folder DATA_PATH "$2"
        SETTINGS+=(--coco_root "$2")
    fi
}

# What the requirements of pyproject.toml besides MindSpore are imported as.
MODULES=(numpy cv2 hotcoco pycocotools PIL anyascii yaml tqdm psutil)

has_requirements() { # PYTHON MODULE...: looks for the modules without the seconds that importing them takes
    "$1" -c 'import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
try:
    sys.exit(not version("mindspore").startswith("2.10.") or not all(find_spec(name) for name in sys.argv[1:]))
except PackageNotFoundError:
    sys.exit(1)' "${@:2}" 2>/dev/null
}

# Sets PYTHON, or returns 1 if there is none that could run the project; python3 must have MODULE... too.
find_python() { # MODULE...
    if [[ -n "${MASKRCNN_PYTHON:-}" ]]; then
        command -v -- "$MASKRCNN_PYTHON" >/dev/null ||
            fail "MASKRCNN_PYTHON names '$MASKRCNN_PYTHON', which is no program"
        PYTHON="$MASKRCNN_PYTHON"
    elif [[ -x "$VENV/bin/python" ]]; then
        PYTHON="$VENV/bin/python"
    elif command -v python3 >/dev/null && has_requirements python3 "${MODULES[@]}" "$@"; then
        PYTHON="python3"
    else
        return 1
    fi
}

need_python() {
    find_python ||
        fail "MindSpore 2.10, or something else the project needs, is not installed: run 'bash $SCRIPTS/quickstart.sh' once, or 'pip install -e $ROOT'"
}

# Sets PYTHON to one with everything installed, after making .venv if necessary. Takes a moment when all is there.
prepare_environment() { # MODULE...: what a python3 from elsewhere must have besides MODULES
    local wanted stamp="$VENV/installed-for"
    if find_python "$@" && [[ "$PYTHON" != "$VENV/bin/python" ]]; then
        return # someone else looks after that one
    fi
    wanted="$ROOT $(cksum <"$ROOT/pyproject.toml")"
    if [[ -x "$VENV/bin/python" && -f "$stamp" && "$(<"$stamp")" == "$wanted" ]]; then
        return
    fi
    [[ -x "$VENV/bin/python" ]] || make_venv
    PYTHON="$VENV/bin/python"
    echo "Installing MindSpore and the other requirements into $VENV; this may take minutes"
    # an editable install from pyproject.toml alone needs pip 21.3
    (cd -- "$ROOT" && "$PYTHON" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=21.3' &&
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --editable '.[test]') ||
        fail "pip could not install the requirements of $ROOT/pyproject.toml (see above); run the script again to go on"
    printf '%s\n' "$wanted" >"$stamp"
}

make_venv() {
    local candidate base=""
    for candidate in python3 python3.11 python3.12 python3.10 python3.9; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            base="$candidate"
            break
        fi
    done
    [[ -n "$base" ]] || fail "no Python from 3.9 to 3.12 found: install one, or name it with MASKRCNN_PYTHON"
    echo "Making the virtual environment $VENV with $("$base" --version)"
    if ! "$base" -m venv --clear -- "$VENV"; then
        rm -rf -- "$VENV"
        fail "$base cannot make virtual environments (see above); on Debian and Ubuntu install python3-venv"
    fi
}

# run_logged LOG COMMAND...: becomes COMMAND, its output both on the screen and added to LOG. Signals reach COMMAND
# itself and its exit code is the script's.
run_logged() {
    local log="$1"
    shift
    mkdir -p -- "$(dirname -- "$log")" 2>/dev/null || fail "the folder of $log cannot be made: choose another --output"
    { : >>"$log"; } 2>/dev/null || fail "$log cannot be written: choose another --output"
    echo "Log: $log"
    exec > >(exec tee -i -a -- "$log") 2>&1
    exec "$@"
}
