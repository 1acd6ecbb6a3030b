#!/usr/bin/env bash
# Evaluate a checkpoint: COCO tables of boxes and masks, result files, pictures.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash run_eval.sh VALIDATION_JSON_FILE CHECKPOINT_PATH [DATA_PATH] [DEVICE_ID] [--output DIR] [--key value]...

  VALIDATION_JSON_FILE  annotations to evaluate on, for instance annotations/instances_val2017.json
  CHECKPOINT_PATH       checkpoint of training
  DATA_PATH             folder of the data set, in which val2017/ holds the images; by default that of the annotations
  DEVICE_ID             number of the card, by default that in the environment's DEVICE_ID, or 0
  --output DIR          where log.txt, metrics.json, bbox.json, segm.json and pictures go, by default scripts/eval
  --key value           any flag of eval.py, for instance the --config_path FILE of training

It runs on an Ascend card where there is one, else on a GPU, else on the CPU; --device_target says it differently."

OUTPUT="$SCRIPTS/eval"
parse_arguments "$USAGE" "$@"
take_device_id 3
count="${#ARGUMENTS[@]}"
((count == 2 || count == 3)) ||
    fail "expected VALIDATION_JSON_FILE, CHECKPOINT_PATH and perhaps DATA_PATH and DEVICE_ID, got $count arguments; see --help"
need_file VALIDATION_JSON_FILE "${ARGUMENTS[0]}"
need_file CHECKPOINT_PATH "${ARGUMENTS[1]}"

settings=(--ann_file "${ARGUMENTS[0]}" --checkpoint_path "${ARGUMENTS[1]}" --eval_output "$OUTPUT")
if ((count == 3)); then
    need_folder DATA_PATH "${ARGUMENTS[2]}"
    settings+=(--coco_root "${ARGUMENTS[2]}")
fi
need_python
run_logged "$OUTPUT/log.txt" "$PYTHON" "$ROOT/eval.py" "${settings[@]}" "${DEVICE[@]}" "${FLAGS[@]}"
