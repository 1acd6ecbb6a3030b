"""A job of several processes, started and seen through: ``python -m maskrcnn.launch [OPTION]... SCRIPT [ARGUMENT]...``.

The processes are started by MindSpore's msrun, on Ascend, GPU and CPU alike. This adds what msrun leaves open: rank
tables are checked, the process that failed is named with its exit cause and its log, nothing is left running, signals
let the run save, and a failed job can start again from its last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from maskrcnn.cli import Parser
from maskrcnn.distributed.job import Ending, Job, JobSpec, check_port, writing_logs
from maskrcnn.distributed.rank_table import is_address, read_rank_table
from maskrcnn.errors import DistributedError
from maskrcnn.lock import AlreadyLocked, locked

LOCAL = "127.0.0.1"
PORT = 18118  # not msrun's 8118: from there on MindSpore's processes choose their own
RESUME = ("--resume", "auto")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the launcher's own options."""
    made = Parser(prog="python -m maskrcnn.launch", description="Start a job of several processes and see it through.")
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--rank_table", type=Path, metavar="FILE", help="the Ascend devices, on one or more servers")
    where.add_argument("--workers", type=int, metavar="N", help="processes on this host")
    made.add_argument("--nodes", type=int, default=1, help="hosts with so many processes each (with --workers)")
    made.add_argument("--node_rank", type=int, help="which of the hosts this is; found by address in a rank table")
    made.add_argument("--master_addr", help="address of host 0; by default that of the rank table, or this host")
    made.add_argument("--master_port", type=int, default=PORT, help=f"a free port of host 0 ({PORT})")
    made.add_argument("--log_dir", type=Path, default=Path("train_parallel"), help="folder of worker_{rank}.log")
    made.add_argument("--bind_core", default="false", help="true: cores are shared out; or msrun's JSON; or false")
    made.add_argument("--max_restarts", type=int, default=0, help="how often a failed job starts again by itself (0)")
    made.add_argument("--start_timeout", type=int, default=600, help="seconds that processes wait for each other (600)")
    made.add_argument("script", type=Path, help="train.py or eval.py")
    made.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    return made


def job_spec(options: argparse.Namespace) -> JobSpec:
    """Returns what the options say to start.

    Raises:
        DistributedError: They make no job, or the rank table cannot be used.
    """
    if not options.script.is_file():
        raise DistributedError(f"there is no script {options.script}")
    table = read_rank_table(options.rank_table) if options.rank_table else None
    if table:
        world_size, local_world_size = table.world_size, len(table.servers[0].devices)
        nodes = len(table.servers)
        node_rank = table.node_rank(own_addresses()) if options.node_rank is None else options.node_rank
    else:
        local_world_size, nodes, node_rank = options.workers, options.nodes, options.node_rank or 0
        world_size = local_world_size * nodes
        if nodes > 1 and None in (options.node_rank, options.master_addr):
            raise DistributedError("several hosts need --node_rank and --master_addr")
    if world_size < 1 or not 0 <= node_rank < nodes:
        raise DistributedError(f"{world_size} processes and node_rank {node_rank} of {nodes} hosts make no job")
    devices: tuple[int, ...] = ()
    if table:
        table.check_devices(node_rank)
        devices = table.servers[node_rank].devices
    address = options.master_addr or (table.servers[0].server_id if nodes > 1 else LOCAL)
    if not options.master_addr and not is_address(address):
        raise DistributedError(f"{table.path} calls server 0 '{address}': give its address with --master_addr")
    return JobSpec(
        command=[str(options.script.resolve()), *options.arguments],
        world_size=world_size,
        local_world_size=local_world_size,
        node_rank=node_rank,
        master_addr=address,
        master_port=options.master_port,
        log_dir=options.log_dir.resolve(),
        start_timeout=options.start_timeout,
        bind_core=options.bind_core,
        devices=devices,
        rank_table=table and table.path.resolve(),
    )


def own_addresses() -> set[str]:
    """Returns the IP addresses of this host."""
    families = (socket.AF_INET, socket.AF_INET6)
    interfaces = psutil.net_if_addrs().values()
    return {address.address.split("%")[0] for found in interfaces for address in found if address.family in families}


def run(spec: JobSpec, max_restarts: int = 0) -> Ending:
    """Runs the job, again after a failure that may pass, up to ``max_restarts`` times."""
    command = list(spec.command)
    for restart in range(max_restarts + 1):
        if spec.node_rank == 0:
            check_port(spec.master_addr, spec.master_port)
        keep_logs(spec)
        ending = run_once(dataclasses.replace(spec, command=command))
        if not ending.may_restart or restart == max_restarts:
            break
        print(f"error: {ending.reason}", file=sys.stderr)
        print(f"restart {restart + 1} of {max_restarts}, from the last checkpoint", flush=True)
        command = [*spec.command, *RESUME]
    return ending


def run_once(spec: JobSpec) -> Ending:
    """Runs the job; SIGINT and SIGTERM let its processes save and stop, a second one ends them at once."""
    job = Job(spec)

    def stop(number: int, frame: object) -> None:
        if job.stop_signal:
            job.kill()
            raise SystemExit(128 + number)
        job.stop_signal = number
        print(f"{signal.Signals(number).name} received: the processes finish their step and save", flush=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return job.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def job_folder(spec: JobSpec) -> Iterator[None]:
    """Makes the folder of logs, and keeps other jobs of this host out of it while the block runs.

    Raises:
        DistributedError: It cannot be written, or another job is at work in it.
    """
    with contextlib.ExitStack() as stack:
        try:
            with writing_logs(spec):
                spec.log_dir.mkdir(parents=True, exist_ok=True)
                # the hosts of a job may share the folder
                stack.enter_context(locked(spec.log_dir / f".launcher_{spec.node_rank}.lock"))
        except AlreadyLocked as holder:
            raise DistributedError(
                f"--log_dir {spec.log_dir} is in use by another job, {holder}: wait for it to end, or choose another"
            ) from None
        yield


def keep_logs(spec: JobSpec) -> None:
    """Puts the logs of an earlier start aside, since msrun begins them anew."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    with writing_logs(spec):
        for log in (spec.log(None), *(spec.log(spec.first_rank + k) for k in range(spec.local_world_size))):
            if log.exists():
                log.replace(log.with_name(f"{log.stem}.{stamp}.log"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the launcher; returns its exit code, that of the rank that failed first."""
    options = parser().parse_args(argv)
    spec = job_spec(options)
    with job_folder(spec):
        ending = run(spec, options.max_restarts)
    if ending.reason:
        print(f"error: {ending.reason}", file=sys.stderr)
    return ending.code
