#!/usr/bin/env bash
# Check style and run the tests, on a fresh machine too: bash test.sh [PYTEST_ARGUMENT]..., for instance -m slow.
if [ -z "${BASH_VERSION:-}" ]; then exec bash "$0" "$@"; fi
# shellcheck source=scripts/_env.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_env.sh"

prepare_environment
cd -- "$ROOT"
status=0
"$PYTHON" -m ruff check . || status=1
"$PYTHON" -m ruff format --check . || status=1
"$PYTHON" -m pytest "$@" || status=$?
exit "$status"
