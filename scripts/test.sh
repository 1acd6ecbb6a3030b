#!/usr/bin/env bash
# Check style and run the tests, on a fresh machine too: bash test.sh [PYTEST_ARGUMENT]..., for instance -m slow.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

# What the C++ app is built from; its tests are skipped where that is not there.
PACKAGES=(cmake make g++ libopencv-imgcodecs-dev libopencv-imgproc-dev nlohmann-json3-dev libcli11-dev libgtest-dev)

install_packages() {
    if ! command -v apt-get >/dev/null || dpkg --status "${PACKAGES[@]}" >/dev/null 2>&1; then
        return
    fi
    if [[ "$(id -u)" != 0 ]]; then
        echo "note: to test the C++ app, install it: apt-get install ${PACKAGES[*]}"
        return
    fi
    echo "Installing what the C++ app is built from: ${PACKAGES[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${PACKAGES[@]}" ||
        echo "note: apt-get could not install it (see above): the C++ app's tests will be skipped"
}

prepare_environment ruff pytest scipy onnx onnxruntime
install_packages
cd -- "$ROOT"
status=0
"$PYTHON" -m ruff check . || status=1
"$PYTHON" -m ruff format --check . || status=1
"$PYTHON" -m pytest "$@" || status=$?
exit "$status"
