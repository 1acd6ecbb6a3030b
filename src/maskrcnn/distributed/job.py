"""One job: msrun starts its processes, this watches them, and ends all of them when one of them ends badly."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from maskrcnn.distributed.process_group import DEVICES, EXIT_LOST, LAUNCHER, RANK, ROLE, SCHEDULER
from maskrcnn.errors import EXIT_USER_ERROR, DistributedError

STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes of a run that has saved and stopped on a signal
GRACE = 5.0  # seconds for the others to end by themselves after one has failed: a checkpoint may be half written
SHORT_GRACE = 2.0
POLL = 0.1
TAIL = 2**16  # bytes at the end of a log in which an error is looked for
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class JobSpec:
    """What the launcher starts on this host: ``local_world_size`` of the job's ``world_size`` processes."""

    command: Sequence[str]  # a Python script and its arguments
    world_size: int
    local_world_size: int
    node_rank: int
    master_addr: str
    master_port: int
    log_dir: Path
    start_timeout: int = 600
    bind_core: str = "false"
    devices: Sequence[int] = ()  # of the local processes; empty: 0, 1, ...
    rank_table: Path | None = None

    @property
    def first_rank(self) -> int:
        """The lowest rank on this host."""
        return self.node_rank * self.local_world_size

    def log(self, rank: int | None) -> Path:
        """Returns where msrun puts the output of a rank, or of the scheduler (None)."""
        return self.log_dir / ("scheduler.log" if rank is None else f"worker_{rank}.log")


@dataclass(frozen=True)
class Ending:
    """How a job ended: exit code, 0 if well, and the line that says why if not."""

    code: int
    reason: str = ""
    may_restart: bool = False


@dataclass
class Job:
    """The processes of one start of a job on this host."""

    spec: JobSpec
    ranks: dict[int, int | None] = field(default_factory=dict)  # of the processes that live, by id; None: the scheduler
    groups: set[int] = field(default_factory=set)  # of msrun and of each worker, with whatever these have started
    stop_signal: int = 0  # received by the launcher
    shown: int = 0  # bytes of the first rank's log that have been shown

    def run(self) -> Ending:
        """Starts everything and returns when nothing of it is left."""
        _adopt_orphans()
        try:
            self.start()
            return self.watch()
        finally:
            self.kill()

    def start(self) -> None:
        """Has msrun start the processes.

        Raises:
            DistributedError: msrun failed, or the logs cannot be written.
        """
        spec = self.spec
        options = {
            "worker_num": spec.world_size,
            "local_worker_num": spec.local_world_size,
            "node_rank": spec.node_rank,
            "master_addr": spec.master_addr,
            "master_port": spec.master_port,
            "log_dir": spec.log_dir,
            "cluster_time_out": spec.start_timeout,
            "bind_core": spec.bind_core,
            "join": False,
        }
        if spec.rank_table:
            options["rank_table_file"] = spec.rank_table
        output = spec.log_dir / "msrun.log"
        command = [sys.executable, "-m", "mindspore.parallel.cluster.run"]
        command += [f"--{key}={value}" for key, value in options.items()]
        with writing_logs(spec):
            spec.log_dir.mkdir(parents=True, exist_ok=True)
            output.write_bytes(b"")
        with open(output, "w", encoding="utf-8") as log:
            msrun = subprocess.Popen(
                [*command, python_name(), *spec.command],
                env=environment(spec),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the launcher, which lets the processes save
            )
            self.groups.add(msrun.pid)
            # Looked at all the time, since a process that ends can no longer be asked for its rank.
            while (code := msrun.poll()) is None:
                self.find_processes(msrun.pid)
                time.sleep(POLL / 10)
        self.find_processes(os.getpid())  # which they have become children of
        if code:
            raise DistributedError(f"msrun failed with exit code {code}: {last_error(output)} (log: {output})")

    def find_processes(self, parent: int) -> None:
        """Takes note of the ranks of the processes that msrun has started so far, children of ``parent``."""
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(parent).children():
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    variables = {} if process.pid in self.ranks else process.environ()
                    if variables.get(ROLE) == SCHEDULER:
                        self.ranks[process.pid] = None
                    # msrun has each worker lead a group of its own; what a dead one has left behind leads none.
                    elif ROLE in variables and process.pid == os.getpgid(process.pid):
                        self.ranks[process.pid] = int(variables[RANK])
                        self.groups.add(process.pid)

    def watch(self) -> Ending:
        """Waits for the processes; the first that ends badly decides, and the others get ``GRACE`` seconds."""
        ending, deadline, workers = None, None, self.spec.local_world_size
        told = stopped = 0
        while workers and (deadline is None or time.monotonic() < deadline):
            self.show_log()
            if self.stop_signal and not told:
                told = self.stop_signal
                self.signal_workers(signal.SIGTERM)
            pid, status = os.waitpid(-1, os.WNOHANG) if _has_children() else (0, 0)
            if pid == 0:
                if not self.has_workers():
                    break  # one has ended before it was found
                time.sleep(POLL)
                continue
            if pid not in self.ranks:
                continue  # something that a worker had started
            code, rank = os.waitstatus_to_exitcode(status), self.ranks.pop(pid)
            workers -= rank is not None
            stopped += code in STOPPED
            if code and ending is None:
                ending = self.judge(rank, code)
                # Those that stop on a signal have waited for the last checkpoint and leave together; without a
                # scheduler, which has waited for a process of another host, none can go on.
                deadline = time.monotonic() + (GRACE if rank is not None else SHORT_GRACE)
            elif code == EXIT_USER_ERROR and ending and ending.code == EXIT_LOST:
                ending = self.judge(rank, code)  # what the first has lost its peers by
        self.show_log()
        if ending and ending.code in STOPPED and stopped == self.spec.local_world_size:
            ending = Ending(ending.code)
        if ending is None and workers:
            ending = Ending(1, f"{workers} processes of the job are gone (logs: {self.spec.log_dir})", may_restart=True)
        if ending is None:
            self.wait_for_scheduler()
        return ending or Ending(0)

    def judge(self, rank: int | None, code: int) -> Ending:
        """Returns what the end of ``rank`` (None: the scheduler) with a return code other than 0 means for the job."""
        if self.stop_signal:
            return Ending(128 + self.stop_signal)
        log = self.spec.log(rank)
        who = "the scheduler" if rank is None else f"rank {rank}"
        if code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
        elif code in STOPPED:
            cause = f"was stopped by {signal.Signals(code - 128).name}, and the others were not"
        else:
            cause = f"ended with exit code {code}: {last_error(log)}"
        line = f"{who} on {socket.gethostname()} {cause} (log: {log})"
        return Ending(code if code > 0 else 128 - code, line, may_restart=code not in (EXIT_USER_ERROR, *STOPPED))

    def wait_for_scheduler(self) -> None:
        """Waits for the scheduler, which ends by itself within seconds of the workers."""
        deadline = time.monotonic() + GRACE
        while self.ranks and time.monotonic() < deadline and _has_children():
            pid, _ = os.waitpid(-1, os.WNOHANG)
            self.ranks.pop(pid, None)
            time.sleep(POLL)

    def has_workers(self) -> bool:
        """Returns whether a worker that msrun has started lives; `tee`, for one, is a child of ours too."""
        return any(rank is not None and psutil.pid_exists(pid) for pid, rank in self.ranks.items())

    def signal_workers(self, number: int) -> None:
        """Sends a signal to every worker."""
        for pid, rank in self.ranks.items():
            if rank is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """Ends what is left, with the processes that it has started in turn."""
        left = [psutil.Process(pid) for pid in self.ranks if psutil.pid_exists(pid)]
        for process in left:
            with contextlib.suppress(psutil.Error):
                for child in process.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
                process.kill()
        deadline = time.monotonic() + GRACE
        while (self.ranks or self.groups) and time.monotonic() < deadline:
            # A group outlives the worker that leads it: what that had started may hold its device.
            self.groups = {group for group in self.groups if _kill_group(group)}
            _reap()
            self.ranks = {pid: rank for pid, rank in self.ranks.items() if psutil.pid_exists(pid)}
            time.sleep(POLL / 10)
        self.ranks.clear()

    def show_log(self) -> None:
        """Passes on what the first rank of this host has written since."""
        with contextlib.suppress(FileNotFoundError), open(self.spec.log(self.spec.first_rank), "rb") as file:
            file.seek(self.shown)
            new = file.read()
            self.shown += len(new)
            sys.stdout.write(new.decode("utf-8", "replace"))
            sys.stdout.flush()


@contextlib.contextmanager
def writing_logs(spec: JobSpec) -> Iterator[None]:
    """Names the folder of logs where something cannot be written into it.

    Raises:
        DistributedError: In place of an OSError of the block.
    """
    try:
        yield
    except OSError as error:
        raise DistributedError(
            f"--log_dir {spec.log_dir} cannot be written ({error.strerror}): choose another folder"
        ) from error


def environment(spec: JobSpec) -> dict[str, str]:
    """Returns the environment of msrun: this Python first in PATH, since it calls Python by name, and the devices."""
    variables = {**os.environ, LAUNCHER: str(os.getpid())}
    variables["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    variables.setdefault("GLOG_v", "3")
    if spec.devices:
        variables[DEVICES] = ",".join(map(str, spec.devices))
    return variables


def python_name() -> str:
    """Returns the name under which msrun finds this Python: it knows ``python`` and ``python3`` only.

    Raises:
        DistributedError: This Python has neither name.
    """
    folder = str(Path(sys.executable).parent)
    for name in ("python", "python3"):
        found = shutil.which(name, path=folder)
        if found and os.path.samefile(found, sys.executable):
            return name
    raise DistributedError(f"msrun needs a 'python' or 'python3' beside {sys.executable}: use a virtual environment")


def check_port(address: str, port: int) -> None:
    """Makes sure that the scheduler can listen on a port.

    Raises:
        DistributedError: It is in use, or not allowed.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        raise DistributedError(
            f"port {port} of {address} cannot be used ({error.strerror}): choose another with --master_port"
        ) from error


def last_error(log: Path) -> str:
    """Returns the last line of a log that looks like the reason of an end: ours, Python's, or else the last one."""
    try:
        with open(log, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - TAIL, 0))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return "it wrote nothing"
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    for line in reversed(lines):
        if line.split(":")[0].endswith(("Error", "Exception", "Interrupt")):
            return line
    return lines[-1] if lines else "it wrote nothing"


def _adopt_orphans() -> None:
    """Becomes the parent of what msrun leaves behind, so that every exit code arrives here, at once."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise DistributedError(f"this system cannot watch processes: {os.strerror(ctypes.get_errno())}")


def _kill_group(group: int) -> bool:
    """Kills the processes of a group; returns False if it has none any more."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # the latter: the number is someone else's by now
        return False
    return True


def _reap() -> None:
    """Lets go of all children that have ended."""
    while _has_children() and os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
