#!/usr/bin/env bash
# Train on one device, in the foreground.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash run_standalone_train.sh [PRETRAINED_CKPT] [DATA_PATH] [--output DIR] [--key value]...

  PRETRAINED_CKPT  checkpoint of a backbone or of a whole network to start from; '' = from scratch
  DATA_PATH        folder of a COCO-format data set
  --output DIR     where log.txt, loss_0.log and checkpoint/ go, by default scripts/train
  --key value      any flag of train.py, for instance --config_path FILE or --epoch_size 6

It runs on an Ascend card where there is one and otherwise on the CPU; --device_target says it differently."

OUTPUT="$SCRIPTS/train"
parse_arguments "$USAGE" "$@"
((${#ARGUMENTS[@]} <= 2)) ||
    fail "expected at most PRETRAINED_CKPT and DATA_PATH, got ${#ARGUMENTS[@]} arguments; see --help"
training_settings "${ARGUMENTS[0]:-}" "${ARGUMENTS[1]:-}"
if compgen -G '/dev/davinci[0-9]*' >/dev/null; then
    SETTINGS+=(--device_target Ascend)
fi
need_python
run_logged "$OUTPUT/log.txt" "$PYTHON" "$ROOT/train.py" "${SETTINGS[@]}" "${FLAGS[@]}"
