#!/usr/bin/env bash
# Start a container in which DATA_DIR and MODEL_DIR have the same paths as outside.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
set +o posix
set -euo pipefail

USAGE="usage: bash docker_start.sh IMAGE DATA_DIR MODEL_DIR [COMMAND]...

  IMAGE      made with: docker build -t IMAGE .
  DATA_DIR   folder of the data set
  MODEL_DIR  folder of the code or of checkpoints, in which the container starts
  COMMAND    what to run there, by default a shell

Ascend and NVIDIA cards of this machine are handed to the container."

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    printf '%s\n' "$USAGE"
    exit 0
fi
(($# >= 3)) || fail "expected IMAGE, DATA_DIR and MODEL_DIR, got $# arguments; see --help"
[[ -d "$2" ]] || fail "DATA_DIR '$2' does not exist or is not a folder"
[[ -d "$3" ]] || fail "MODEL_DIR '$3' does not exist or is not a folder"
command -v docker >/dev/null || fail "docker is not installed"
image="$1"
data="$(cd -- "$2" && pwd)"
model="$(cd -- "$3" && pwd)"
shift 3

options=(--rm --ipc=host) # the host's shared memory: that of a container is too small for data workers
for mount in "$data" "$model"; do
    options+=(--mount "type=bind,source=$mount,target=$mount")
done
options+=(--workdir "$model")
if [[ -t 0 && -t 1 ]]; then
    options+=(--interactive --tty)
fi

for device in /dev/davinci[0-9]* /dev/davinci_manager /dev/devmm_svm /dev/hisi_hdc; do
    [[ ! -e "$device" ]] || options+=(--device "$device")
done
for driver in /usr/local/Ascend/driver /usr/local/bin/npu-smi; do
    [[ ! -e "$driver" ]] || options+=(--volume "$driver:$driver:ro")
done
if [[ -e /dev/nvidiactl ]]; then
    options+=(--gpus all)
fi

if (($# == 0)); then
    set -- /bin/bash
fi
exec docker run "${options[@]}" "$image" "$@"
