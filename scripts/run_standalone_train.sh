#!/usr/bin/env bash
# Train on one device, in the foreground.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash run_standalone_train.sh [PRETRAINED_CKPT] [DATA_PATH] [DEVICE_ID] [--output DIR] [--key value]...

  PRETRAINED_CKPT  weights of a backbone or of a whole network to start from; '' = from scratch
  DATA_PATH        folder of a COCO-format data set
  DEVICE_ID        number of the card, by default that in the environment's DEVICE_ID, or 0
  --output DIR     where log.txt, loss_0.log and checkpoint/ go, by default scripts/train
  --key value      any flag of train.py, for instance --config_path FILE or --epoch_size 6

It runs on an Ascend card where there is one, else on a GPU, else on the CPU; --device_target says it differently."

OUTPUT="$SCRIPTS/train"
parse_arguments "$USAGE" "$@"
take_device_id 3
((${#ARGUMENTS[@]} <= 2)) ||
    fail "expected at most PRETRAINED_CKPT, DATA_PATH and the number DEVICE_ID, got ${#ARGUMENTS[@]} arguments; see --help"
training_settings "${ARGUMENTS[0]:-}" "${ARGUMENTS[1]:-}"
need_python
run_logged "$OUTPUT/log.txt" "$PYTHON" "$ROOT/train.py" "${SETTINGS[@]}" "${DEVICE[@]}" "${FLAGS[@]}"
