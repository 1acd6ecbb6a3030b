#!/usr/bin/env bash
# From nothing to pictures with boxes and masks, in minutes on two CPU cores.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash quickstart.sh [--output DIR] [--key value]...

Makes a virtual environment (.venv) if there is none, draws the shapes data set, converts it, trains
configs/shapes.yaml, evaluates, and says where the pictures are. What is done already is not done again:
an interrupted training goes on.

  --output DIR  where everything goes, by default quickstart/ in the project
  --key value   any flag of train.py and eval.py, for instance --seed 2"

OUTPUT="$ROOT/quickstart"
parse_arguments "$USAGE" "$@"
((${#ARGUMENTS[@]} == 0)) || fail "unexpected argument '${ARGUMENTS[0]}'; see --help"
started=$SECONDS

step() {
    printf '\n== %s (after %d s)\n' "$1" "$((SECONDS - started))"
}

step "1/5 Environment"
prepare_environment
echo "Python: $(command -v -- "$PYTHON")"

step "2/5 Drawing the data set"
mkdir -p -- "$OUTPUT"
"$PYTHON" -m maskrcnn.data.shapes "$OUTPUT/shapes"

settings=(--config_path "$ROOT/configs/shapes.yaml" --coco_root "$OUTPUT/shapes")
training=(--mindrecord_dir "$OUTPUT/mindrecord" --save_checkpoint_path "$OUTPUT/checkpoint" --log_dir "$OUTPUT/log")

step "3/5 Converting it to MindRecord"
"$PYTHON" "$ROOT/train.py" "${settings[@]}" "${training[@]}" "${FLAGS[@]}" --only_create_dataset true

step "4/5 Training"
"$PYTHON" "$ROOT/train.py" "${settings[@]}" "${training[@]}" --resume auto "${FLAGS[@]}"

step "5/5 Evaluating"
newest="$(find "$OUTPUT/checkpoint" -maxdepth 1 -name 'maskrcnn-*.ckpt' | sort -V | tail -n 1)"
[[ -n "$newest" ]] || fail "training left no checkpoint in $OUTPUT/checkpoint"
"$PYTHON" "$ROOT/eval.py" "${settings[@]}" --checkpoint_path "$newest" --eval_output "$OUTPUT/eval" "${FLAGS[@]}" |
    tee "$OUTPUT/eval.log"

step "Done"
echo "Average precision at IoU 0.50:0.95, 0.50 and 0.75, of boxes and then of masks:"
grep -E 'Average Precision .*area= *all' "$OUTPUT/eval.log"
echo "Checkpoint: $newest"
echo "Pictures:   $OUTPUT/eval/pictures"
