# shellcheck shell=bash
# Sourced by run_infer_310.sh: models of export.py made ready for an Ascend chip by the vendors' converters.

# Lines "file, images, height, width" of the models of MODEL's kind in its metadata, separated by tabs.
list_models() {
    "$PYTHON" -c 'import sys
from pathlib import Path
from maskrcnn import cli
from maskrcnn.export.metadata import Metadata, metadata_path
def main():
    model = Path(sys.argv[1])
    metadata = Metadata.read(metadata_path(model))
    if model.suffix == ".onnx" and metadata.opset > 15:
        print(f"note: this model is of ONNX opset {metadata.opset}, for its aligned RoIAlign; should this version of ATC refuse"
              " it, export with --roi_aligned false (opset 13) or as MINDIR", file=sys.stderr)
    for item in metadata.of_format(model.suffix):
        print(item.file, item.batch_size, item.height, item.width, sep="\t")
cli.run(main)' "$MODEL"
}

# ONNX and AIR to OM. Vector operators stay in float32: in float16 a box at 1280 pixels is off by half a pixel.
atc_command() { # FILE IMAGES HEIGHT WIDTH TARGET_WITHOUT_SUFFIX
    COMMAND=(atc --model="$1" --output="$5" --soc_version="$SOC_VERSION" --precision_mode=allow_fp32_to_fp16 --log=error)
    if [[ "$1" == *.air ]]; then
        COMMAND+=(--framework=1)
    else
        COMMAND+=(--framework=5 --input_format=ND --input_shape="image:$2,$3,$4,3;image_shape:$2,2")
    fi
    if [[ -n "$AIPP_CONF" ]]; then COMMAND+=(--insert_op_conf="$AIPP_CONF"); fi
}

# MINDIR to MINDIR with the graph compiled for the chip of this machine.
converter_lite_command() { # FILE TARGET_WITHOUT_SUFFIX
    COMMAND=(converter_lite --fmk=MINDIR --saveType=MINDIR --optimize=ascend_oriented --modelFile="$1" --outputFile="$2"
        --configFile="$ROOT/ascend310_infer/converter_lite.ini")
}

# Converts MODEL and, where its export has one, the upright model; then MODEL is the converted one, in OUTPUT/model with
# its metadata. With PRINT_ONLY it says the commands instead.
convert_model() {
    local folder="$OUTPUT/model" suffix models source images height width target
    case "$MODEL" in
        *.onnx | *.air)
            suffix=.om
            [[ -n "$SOC_VERSION" ]] || fail "to convert $MODEL, name the chip: --soc_version, for instance Ascend310P3"
            [[ -z "$AIPP_CONF" ]] || need_file --aipp_conf "$AIPP_CONF"
            ;;
        *.mindir)
            suffix=.mindir
            [[ -z "$SOC_VERSION$AIPP_CONF" ]] ||
                fail "--soc_version and --aipp_conf are for ONNX and AIR: converter_lite takes the chip of this machine"
            ;;
        *) fail "$MODEL: only .onnx, .air and .mindir are converted" ;;
    esac
    models="$(list_models)" || exit $?
    while IFS=$'\t' read -r source images height width; do
        target="$folder/${source%.*}"
        source="$(dirname -- "$MODEL")/$source"
        if [[ "$suffix" == .om ]]; then
            atc_command "$source" "$images" "$height" "$width" "$target"
        else
            converter_lite_command "$source" "$target"
        fi
        printf '%q ' "${COMMAND[@]}"
        echo
        if [[ -n "$PRINT_ONLY" ]]; then continue; fi
        command -v -- "${COMMAND[0]}" >/dev/null ||
            fail "${COMMAND[0]} is not there: source CANN's set_env.sh for atc, add MindSpore Lite's tools/converter/converter to PATH for converter_lite"
        mkdir -p -- "$folder" || fail "the folder $folder cannot be made: choose another --output"
        "${COMMAND[@]}" </dev/null || fail "${COMMAND[0]} could not convert $source (see above)"
        [[ -f "$target$suffix" ]] || fail "${COMMAND[0]} ended well but left no $target$suffix"
    done <<<"$models"
    if [[ -n "$PRINT_ONLY" ]]; then exit 0; fi
    cp -- "${MODEL%.*}.json" "$folder/" || fail "the metadata ${MODEL%.*}.json cannot be copied to $folder"
    MODEL="$folder/$(basename -- "${MODEL%.*}")$suffix"
}
