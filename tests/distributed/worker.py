"""A process of a job that needs no MindSpore: ``worker.py WHAT [ARGUMENT]...`` does what the tests want to watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from maskrcnn import cli
from maskrcnn.distributed.process_group import ProcessGroup, stop_with_launcher

WHAT, *ARGUMENTS = sys.argv[1:]


def leave(number: int, frame: object) -> None:
    print("saved", flush=True)
    sys.exit(128 + number)


def lose_peers() -> None:
    with ProcessGroup(0, 2, timeout=60).time_limit("the weights of rank 0"):
        raise RuntimeError("connection reset")  # as MindSpore's operators do


if os.environ["MS_ROLE"] == "MS_SCHED":
    time.sleep(60 if WHAT == "lingering scheduler" else 0)
    sys.exit(0)
rank = os.environ["RANK_ID"]
signal.signal(signal.SIGTERM, signal.SIG_IGN if WHAT == "stuck" and rank == "0" else leave)
if WHAT == "waiting":
    stop_with_launcher()
if WHAT == "compiling" and rank == "1":
    print("child", subprocess.Popen(["sleep", "60"]).pid, flush=True)
print(f"rank {rank} at work, devices {os.environ.get('MASKRCNN_DEVICES')}, with {ARGUMENTS}", flush=True)
if rank == "1":
    if WHAT == "killed" and "--resume" not in ARGUMENTS:
        os.kill(os.getpid(), signal.SIGKILL)
    if WHAT == "lost by a user error":
        time.sleep(1)
    if WHAT.endswith("user error"):
        print("error: no space left", file=sys.stderr)
        sys.exit(2)
    if WHAT == "exception":
        raise ValueError("a defect")
    if WHAT == "stopped alone":
        sys.exit(128 + signal.SIGTERM)
if WHAT.startswith("lost") and rank == "0" and "--resume" not in ARGUMENTS:
    cli.run(lose_peers)
if WHAT in ("waiting", "killed", "compiling", "stuck", "stopped alone", "lost") and "--resume" not in ARGUMENTS:
    time.sleep(60)
