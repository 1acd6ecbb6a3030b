# shellcheck shell=bash
# Sourced by the scripts that start jobs of several processes, after _env.sh.

# shellcheck disable=SC2034 # read by the scripts that source this
LAUNCHER_USAGE="  --master_port N   a free port of the first server (18118)
  --bind_core true  share the processor's cores out to the processes; or msrun's JSON, such as {\"device0\":[\"0-11\"]}
  --max_restarts N  start a failed job again from its last checkpoint by itself, up to N times
  --node_rank N     which server of the rank table this is, if its address does not say it
  --master_addr A   address of the first server, if the rank table has none
  --start_timeout S how long processes wait for all of the job to be started (600)
  --wait_timeout S  how long they wait for each other later, as for rank 0 to convert data (7200). HCCL_CONNECT_TIMEOUT,
                    HCCL_EXEC_TIMEOUT and MS_NODE_TIMEOUT follow from it, unless the environment sets them"

# split_launcher_flags: moves the launcher's own flags, `--key value` or `--key=value`, from FLAGS to LAUNCHER.
split_launcher_flags() {
    local rest=() key
    LAUNCHER=()
    while ((${#FLAGS[@]} > 0)); do
        key="${FLAGS[0]%%=*}"
        case "$key" in
            --master_port | --master_addr | --bind_core | --max_restarts | --node_rank | --nodes | --start_timeout | --workers | \
                --rank_table)
                if [[ "${FLAGS[0]}" == *=* ]]; then
                    LAUNCHER+=("$key" "${FLAGS[0]#*=}")
                    FLAGS=("${FLAGS[@]:1}")
                else
                    ((${#FLAGS[@]} > 1)) || fail "$key needs a value"
                    LAUNCHER+=("$key" "${FLAGS[1]}")
                    FLAGS=("${FLAGS[@]:2}")
                fi
                ;;
            *)
                rest+=("${FLAGS[0]}")
                FLAGS=("${FLAGS[@]:1}")
                ;;
        esac
    done
    FLAGS=("${rest[@]}")
}

# choose_workers: as many processes as there are GPUs, unless --workers says it.
choose_workers() {
    local count=0 visible="${CUDA_VISIBLE_DEVICES:-}"
    [[ " ${LAUNCHER[*]} " != *" --workers "* ]] || return 0
    if [[ -n "$visible" ]]; then
        count="$(tr ',' '\n' <<<"$visible" | grep -c .)"
    elif command -v nvidia-smi >/dev/null; then
        count="$(nvidia-smi --list-gpus | grep -c . || true)"
    fi
    ((count > 0)) || fail "no GPU found: say how many processes to start with --workers N"
    LAUNCHER+=(--workers "$count")
}

# launch SCRIPT ARGUMENT...: becomes the launcher, with LAUNCHER, its log in OUTPUT/log.txt and FLAGS at the end.
launch() {
    need_python
    run_logged "$OUTPUT/log.txt" "$PYTHON" -m maskrcnn.launch "${LAUNCHER[@]}" --log_dir "$OUTPUT" "$@" "${FLAGS[@]}"
}
