#!/usr/bin/env bash
# Fetch COCO 2017 and convert it for training. An interrupted download goes on where it stopped.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

USAGE="usage: bash run_download_process_data.sh [DATA_PATH] [--image_host URL] [--annotation_host URL] [--sums FILE]
       [--keep_archives] [--config_path FILE] [--key value]...

Fetches COCO 2017 (20.4 GB), checks sizes and MD5 sums, unpacks it and converts the training images to MindRecord.
Before anything is fetched the disk is checked: about 60 GB are needed for archives, images and records. Run the same
command again after an interruption: what is there is used.

  DATA_PATH              folder of the data set, by default cocodataset/ in the project
  --image_host URL       folder with train2017.zip and val2017.zip, by default COCO's own server
  --annotation_host URL  folder with annotations_trainval2017.zip, by default COCO's own server
  --sums FILE            lines 'size md5 name' of a mirror's own archives
  --keep_archives        keep the archives in DATA_PATH/archives
  --key value            any flag of train.py, for instance --mindrecord_dir DIR, by default DATA_PATH/mindrecord"

parse_arguments "$USAGE" "$@"
((${#ARGUMENTS[@]} <= 1)) || fail "expected one DATA_PATH, got ${#ARGUMENTS[@]} arguments; see --help"
data="${ARGUMENTS[0]:-$ROOT/cocodataset}"

download=()
settings=(--mindrecord_dir "$data/mindrecord")
while ((${#FLAGS[@]} > 0)); do
    case "${FLAGS[0]}" in
        --keep_archives) download+=("${FLAGS[0]}") ;;
        --image_host | --annotation_host | --sums)
            ((${#FLAGS[@]} > 1)) || fail "${FLAGS[0]} needs a value"
            download+=("${FLAGS[0]}" "${FLAGS[1]}")
            FLAGS=("${FLAGS[@]:1}")
            ;;
        --image_host=* | --annotation_host=* | --sums=*) download+=("${FLAGS[0]}") ;;
        *) settings+=("${FLAGS[0]}") ;;
    esac
    FLAGS=("${FLAGS[@]:1}")
done

need_python
"$PYTHON" -m maskrcnn.data.download "$data" "${download[@]}"
exec "$PYTHON" "$ROOT/train.py" --coco_root "$data" "${settings[@]}" --only_create_dataset true
