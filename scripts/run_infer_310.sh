#!/usr/bin/env bash
# Build the C++ app, run an exported model on a data set, score what it found: result files, timing.json, acc.log.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash run_infer_310.sh MODEL_PATH DATA_PATH ANN_FILE [DEVICE_ID] [--output DIR] [option]...

  MODEL_PATH          exported model: .mindir (MindSpore Lite), .om (AscendCL), .onnx (OpenVINO, on any CPU); NAME.json,
                      which export.py wrote with it, lies beside it
  DATA_PATH           folder of the images, or of a data set in which val2017/ holds them
  ANN_FILE            annotations to score against, for instance annotations/instances_val2017.json
  DEVICE_ID           number of the Ascend device, by default 0
  --output DIR        where the results go, by default scripts/infer310
  --convert           convert the model for the chip first, into DIR/model: .onnx and .air to .om by CANN's atc, .mindir by
                      MindSpore Lite's converter_lite
  --soc_version NAME  the chip that atc converts for, for instance Ascend310P3
  --aipp_conf FILE    AIPP settings for atc, for instance ascend310_infer/aipp.cfg (read it first)
  --print_commands    say what --convert would do, and do no more
  others              options of the app: --engine, --threads, --num_parallel_workers, --eval_images, --strict

BUILD_DIR names a folder to build in other than ascend310_infer/build; CMAKE_ARGS holds further arguments of cmake,
BUILD_JOBS the number of compilers to run at a time."

# take_option NAME: moves the option's value from FLAGS to VALUE, which is empty if it is not there.
take_option() {
    local rest=()
    VALUE=""
    while ((${#FLAGS[@]} > 0)); do
        case "${FLAGS[0]}" in
            "--$1")
                [[ -n "${FLAGS[1]:-}" ]] || fail "--$1 needs a value"
                VALUE="${FLAGS[1]}"
                FLAGS=("${FLAGS[@]:1}")
                ;;
            "--$1="?*) VALUE="${FLAGS[0]#"--$1="}" ;;
            *) rest+=("${FLAGS[0]}") ;;
        esac
        FLAGS=("${FLAGS[@]:1}")
    done
    FLAGS=("${rest[@]}")
}

take_flag() { # NAME: whether it is in FLAGS, from which it is taken
    local rest=() flag found=1
    for flag in "${FLAGS[@]}"; do
        if [[ "$flag" == "--$1" ]]; then found=0; else rest+=("$flag"); fi
    done
    FLAGS=("${rest[@]}")
    return "$found"
}

build() {
    local log="$BUILD/build.log" extra=()
    mkdir -p -- "$BUILD" || fail "the folder $BUILD cannot be made: name another with BUILD_DIR"
    read -r -a extra <<<"${CMAKE_ARGS:-}"
    echo "Building the app in $BUILD"
    if ! {
        cmake -S "$ROOT/ascend310_infer" -B "$BUILD" -DPython3_EXECUTABLE="$(command -v -- "$PYTHON")" "${extra[@]}" &&
            cmake --build "$BUILD" --target maskrcnn_infer --parallel "${BUILD_JOBS:-$(nproc)}"
    } >"$log" 2>&1; then
        tail -n 30 -- "$log" >&2
        fail "the app cannot be built (see above; all of it is in $log)"
    fi
}

# run_app ARGUMENT...: the app's exit code. A signal to this script reaches the app, which then ends in order.
run_app() {
    local child status=0
    "$BUILD/maskrcnn_infer" "$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do # wait has returned because of a signal
        status=0
        wait "$child" || status=$?
    done
    trap - INT TERM
    return "$status"
}

OUTPUT="$SCRIPTS/infer310"
parse_arguments "$USAGE" "$@"
count="${#ARGUMENTS[@]}"
((count == 3 || count == 4)) ||
    fail "expected MODEL_PATH, DATA_PATH, ANN_FILE and perhaps DEVICE_ID, got $count arguments; see --help"
MODEL="${ARGUMENTS[0]}"
IMAGES="${ARGUMENTS[1]}"
ANN_FILE="${ARGUMENTS[2]}"
DEVICE_ID="${ARGUMENTS[3]:-0}"
need_file MODEL_PATH "$MODEL"
need_folder DATA_PATH "$IMAGES"
need_file ANN_FILE "$ANN_FILE"
[[ "$DEVICE_ID" =~ ^[0-9]+$ ]] || fail "DEVICE_ID '$DEVICE_ID' is not a number"
if [[ -d "$IMAGES/val2017" ]]; then
    IMAGES="$IMAGES/val2017"
fi
take_option soc_version
SOC_VERSION="$VALUE"
take_option aipp_conf
AIPP_CONF="$VALUE"
PRINT_ONLY=""
if take_flag print_commands; then PRINT_ONLY=yes; fi
BUILD="${BUILD_DIR:-$ROOT/ascend310_infer/build}"
need_python
if take_flag convert || [[ -n "$PRINT_ONLY" ]]; then
    # shellcheck source=scripts/_convert_310.sh
    source "$SCRIPTS/_convert_310.sh"
    convert_model # sets MODEL to what it has made
elif [[ -n "$SOC_VERSION$AIPP_CONF" ]]; then
    fail "--soc_version and --aipp_conf go with --convert"
elif [[ "$MODEL" == *.air ]]; then
    fail "no engine reads $MODEL as it is: add --convert and --soc_version, for instance Ascend310P3, which make an .om of it"
elif [[ ! "$MODEL" =~ \.(mindir|ms|om|onnx)$ ]]; then
    fail "no engine reads $MODEL: MODEL_PATH is what export.py writes, .mindir, .om or .onnx"
fi
build
run_app --model "$MODEL" --image_dir "$IMAGES" --ann_file "$ANN_FILE" --device_id "$DEVICE_ID" --output "$OUTPUT" \
    "${FLAGS[@]}"
limit=()
take_option eval_images
if [[ -n "$VALUE" ]]; then limit=(--eval_images "$VALUE"); fi
exec "$PYTHON" "$ROOT/postprocess.py" "$OUTPUT/bbox.json" "$OUTPUT/segm.json" --ann_file "$ANN_FILE" \
    --model "$MODEL" --log_dir "$OUTPUT" "${limit[@]}"
