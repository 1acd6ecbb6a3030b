#!/usr/bin/env bash
# Evaluate a checkpoint on several devices, which share the images; the figures are those of one device.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"
# shellcheck source=scripts/_distribute.sh
source "$SCRIPTS/_distribute.sh"

USAGE="usage: bash run_distribute_eval.sh VALIDATION_JSON_FILE CHECKPOINT_PATH [DATA_PATH] --workers N [--output DIR] [--key value]...
       bash run_distribute_eval.sh VALIDATION_JSON_FILE CHECKPOINT_PATH [DATA_PATH] --rank_table FILE [--output DIR] [--key value]...

  VALIDATION_JSON_FILE  annotations to evaluate on, for instance annotations/instances_val2017.json
  CHECKPOINT_PATH       checkpoint of training, on each machine
  DATA_PATH             folder of the data set, in which val2017/ holds the images; by default coco_root
  --workers N           processes, on the devices that --device_target says; or the Ascend devices of --rank_table
  --output DIR          where log.txt, metrics.json, bbox.json, segm.json and pictures go, by default scripts/eval_parallel
$LAUNCHER_USAGE
  --key value           any flag of eval.py, for instance the --config_path FILE of training"

OUTPUT="$SCRIPTS/eval_parallel"
parse_arguments "$USAGE" "$@"
count="${#ARGUMENTS[@]}"
((count == 2 || count == 3)) ||
    fail "expected VALIDATION_JSON_FILE, CHECKPOINT_PATH and perhaps DATA_PATH, got $count arguments; see --help"
need_file VALIDATION_JSON_FILE "${ARGUMENTS[0]}"
need_file CHECKPOINT_PATH "${ARGUMENTS[1]}"
split_launcher_flags
settings=(--ann_file "${ARGUMENTS[0]}" --checkpoint_path "${ARGUMENTS[1]}" --eval_output "$OUTPUT")
[[ " ${LAUNCHER[*]} " != *" --rank_table "* ]] || settings+=(--device_target Ascend)
if ((count == 3)); then
    need_folder DATA_PATH "${ARGUMENTS[2]}"
    settings+=(--coco_root "${ARGUMENTS[2]}")
fi
[[ " ${LAUNCHER[*]} " == *" --rank_table "* ]] || choose_workers
launch "$ROOT/eval.py" "${settings[@]}"
