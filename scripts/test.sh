#!/usr/bin/env bash
# Check style and run the tests, on a fresh machine too: bash test.sh [PYTEST_ARGUMENT]..., for instance -m slow.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

# What the C++ app is built from; its tests are skipped where that is not there.
PACKAGES=(cmake make g++ libopencv-imgcodecs-dev libopencv-imgproc-dev nlohmann-json3-dev libcli11-dev libgtest-dev)

# What opens the report in its tests, which are skipped where no Chromium is there: a download of 113 MB.
BROWSER=(chromium)

install_packages() { # WHAT PACKAGE...
    local what="$1"
    shift
    if ! command -v apt-get >/dev/null || dpkg --status "$@" >/dev/null 2>&1; then
        return
    fi
    if [[ "$(id -u)" != 0 ]]; then
        echo "note: to test $what, install: apt-get install $*"
        return
    fi
    echo "Installing what the tests of $what need: $*"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" ||
        echo "note: apt-get could not install it (see above): the tests of $what will be skipped"
}

prepare_environment ruff pytest scipy onnx onnxruntime
install_packages "the C++ app" "${PACKAGES[@]}"
install_packages "the report" "${BROWSER[@]}"
cd -- "$ROOT"
status=0
"$PYTHON" -m ruff check . || status=1
"$PYTHON" -m ruff format --check . || status=1
"$PYTHON" -m pytest "$@" || status=$?
exit "$status"
