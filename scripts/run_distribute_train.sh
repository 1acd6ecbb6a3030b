#!/usr/bin/env bash
# Train on the Ascend devices of a rank table, on one server or, started on each of them, on several.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"
# shellcheck source=scripts/_distribute.sh
source "$SCRIPTS/_distribute.sh"

USAGE="usage: bash run_distribute_train.sh RANK_TABLE_FILE [PRETRAINED_CKPT] [DATA_PATH] [--output DIR] [--key value]...

  RANK_TABLE_FILE   JSON of the devices, made with make_rank_table.py
  PRETRAINED_CKPT   checkpoint of a backbone or of a whole network to start from; '' = from scratch
  DATA_PATH         folder of a COCO-format data set
  --output DIR      where log.txt, worker_{rank}.log, loss_{rank}.log and checkpoint/ go, by default scripts/train_parallel
$LAUNCHER_USAGE
  --key value       any flag of train.py, for instance --config_path FILE or --resume auto"

OUTPUT="$SCRIPTS/train_parallel"
parse_arguments "$USAGE" "$@"
count="${#ARGUMENTS[@]}"
((count >= 1 && count <= 3)) ||
    fail "expected RANK_TABLE_FILE and perhaps PRETRAINED_CKPT and DATA_PATH, got $count arguments; see --help"
need_file RANK_TABLE_FILE "${ARGUMENTS[0]}"
split_launcher_flags
LAUNCHER+=(--rank_table "${ARGUMENTS[0]}")
training_settings "${ARGUMENTS[1]:-}" "${ARGUMENTS[2]:-}"
launch "$ROOT/train.py" --device_target Ascend "${SETTINGS[@]}"
