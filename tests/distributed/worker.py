"""A process of a job that needs no MindSpore: ``worker.py WHAT [ARGUMENT]...`` does what the tests want to watch."""

from __future__ import annotations

import os
import signal
import sys
import time

from maskrcnn.distributed.ranks import stop_with_launcher

WHAT, *ARGUMENTS = sys.argv[1:]


def leave(number: int, frame: object) -> None:
    print("saved", flush=True)
    sys.exit(128 + number)


if os.environ["MS_ROLE"] == "MS_SCHED":
    time.sleep(60 if WHAT == "lingering scheduler" else 0)
    sys.exit(0)
rank = os.environ["RANK_ID"]
signal.signal(signal.SIGTERM, leave)
if WHAT == "waiting":
    stop_with_launcher()
print(f"rank {rank} at work, devices {os.environ.get('MASKRCNN_DEVICES')}, with {ARGUMENTS}", flush=True)
if rank == "1":
    if WHAT == "killed" and "--resume" not in ARGUMENTS:
        os.kill(os.getpid(), signal.SIGKILL)
    if WHAT == "user error":
        print("error: no space left", file=sys.stderr)
        sys.exit(2)
    if WHAT == "exception":
        raise ValueError("a defect")
if WHAT in ("waiting", "killed") and "--resume" not in ARGUMENTS:
    time.sleep(60)
