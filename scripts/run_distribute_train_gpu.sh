#!/usr/bin/env bash
# Train on the GPUs of this machine, or on several CPU processes with --device_target CPU.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"
# shellcheck source=scripts/_distribute.sh
source "$SCRIPTS/_distribute.sh"

USAGE="usage: bash run_distribute_train_gpu.sh [PRETRAINED_CKPT] [DATA_PATH] [--workers N] [--output DIR] [--key value]...

  PRETRAINED_CKPT   checkpoint of a backbone or of a whole network to start from; '' = from scratch
  DATA_PATH         folder of a COCO-format data set
  --workers N       processes, by default as many as CUDA_VISIBLE_DEVICES names or nvidia-smi lists GPUs
  --output DIR      where log.txt, worker_{rank}.log, loss_{rank}.log and checkpoint/ go, by default scripts/train_parallel
$LAUNCHER_USAGE
  --nodes N         machines with so many processes each, on each of which this is started with its --node_rank
  --key value       any flag of train.py, for instance --config_path FILE or --resume auto"

OUTPUT="$SCRIPTS/train_parallel"
parse_arguments "$USAGE" "$@"
((${#ARGUMENTS[@]} <= 2)) ||
    fail "expected at most PRETRAINED_CKPT and DATA_PATH, got ${#ARGUMENTS[@]} arguments; see --help"
split_launcher_flags
choose_workers
training_settings "${ARGUMENTS[0]:-}" "${ARGUMENTS[1]:-}"
launch "$ROOT/train.py" --device_target GPU "${SETTINGS[@]}"
