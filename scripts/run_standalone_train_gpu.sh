#!/usr/bin/env bash
# Train on one GPU: run_standalone_train.sh [PRETRAINED_CKPT] [DATA_PATH] with --device_target GPU.
exec bash "$(dirname -- "$0")/run_standalone_train.sh" "$@" --device_target GPU
