"""The processes of a job, and what they say to each other outside of the network's graph."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from maskrcnn.errors import DistributedError, PeersLost

CHUNK = 2**20  # int32 words sent at once: 4 MiB, so that gathering needs little memory
MARGIN = 60  # seconds by which our own time limit, whose message is clear, comes before MindSpore's
GONE = 8  # seconds without a sign of life after which a process on another host counts as dead
ADOPTED = 30  # seconds in which msrun ends, once it has started all processes
PR_SET_PDEATHSIG = 1
EXIT_LOST = PeersLost.exit_code  # of a process whose peers did not come in time, or are gone
DEVICES = "MASKRCNN_DEVICES"  # set by the launcher: the device of each local process, in the order of their ranks
LAUNCHER = "MASKRCNN_LAUNCHER"  # also by the launcher: its process id
ROLE = "MS_ROLE"  # set by msrun, as are the next two
RANK, LOCAL_RANK = "RANK_ID", "DEVICE_ID"  # msrun numbers the devices of a host
SCHEDULER = "MS_SCHED"


def started_by_msrun() -> bool:
    """Returns whether this is a process of a job, and was not started by itself."""
    return ROLE in os.environ


def is_scheduler() -> bool:
    """Returns whether this is the process that msrun starts to bring the others together; it does no work itself."""
    return os.environ.get(ROLE) == SCHEDULER


def joined_processes() -> int:
    """Returns the number of processes that this one has joined; 1 before, and for a process of its own."""
    if not started_by_msrun():
        return 1
    from mindspore import communication

    return communication.get_group_size() if communication.GlobalComm.INITED else 1


def local_device(default: int) -> int:
    """Returns the device of this process: named by the launcher or msrun, ``default`` in a process of its own."""
    if not started_by_msrun():
        return default
    local_rank = int(os.environ.get(LOCAL_RANK, "0"))
    devices = os.environ.get(DEVICES)
    return int(devices.split(",")[local_rank]) if devices else local_rank


class ProcessGroup:
    """This process among those of its job; rank 0 of 1, unless msrun started it.

    Every method is to be called by all ranks, in the same order. All waiting ends after ``timeout`` seconds with one
    line that says what was waited for, and exit code 3: a process that waits for its peers cannot be interrupted.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        timeout: Most seconds of waiting.

    Attributes:
        local_rank: Number of this process among those of its host.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, timeout: float = 0.0) -> None:
        self.rank, self.world_size, self.timeout = rank, world_size, timeout
        self.local_rank = 0

    @classmethod
    def join(cls, timeout: float) -> ProcessGroup:
        """Meets the other processes of the job; the device has been set. The scheduler never returns from here.

        Raises:
            PeersLost: The other processes cannot be reached.
        """
        if not started_by_msrun():
            return cls()
        from mindspore import communication, context

        set_time_limits(context.get_context("device_target"), timeout)
        stop_with_launcher()
        try:
            communication.init()
            if is_scheduler():
                sys.exit(0)  # init has returned: the job is over
            group = cls(communication.get_rank(), communication.get_group_size(), timeout)
        except (RuntimeError, ValueError) as error:
            if is_scheduler():  # whose ordinary end would take half a minute more
                print(f"error: the job lost processes: {first_line(error)}", file=sys.stderr, flush=True)
                os._exit(EXIT_LOST)
            raise PeersLost(f"the processes of the job did not come together: {first_line(error)}") from error
        hosts = group.all_gather(socket.gethostname().encode(), "the host names")
        group.local_rank = hosts[: group.rank].count(hosts[group.rank])
        return group

    @property
    def alone(self) -> bool:
        """True if there is only this process."""
        return self.world_size == 1

    def barrier(self, reason: str) -> None:
        """Returns when all ranks have come here; ``reason`` completes "waiting for"."""
        self.all_gather(b"", reason)

    def gather(self, data: bytes, reason: str) -> list[bytes] | None:
        """Returns the ``data`` of every rank, in their order, on rank 0; None on the others, which keep nothing."""
        gathered = self.all_gather(data, reason, keep=self.rank == 0)
        return gathered if self.rank == 0 else None

    def all_gather(self, data: bytes, reason: str, keep: bool = True) -> list[bytes]:
        """Returns the ``data`` of every rank, in their order, on all ranks; nothing without ``keep``."""
        if self.alone:
            return [data]
        from mindspore import Tensor, ops

        collect = ops.AllGather()
        with self.time_limit(reason):
            lengths = collect(Tensor(np.array([len(data)], np.int64))).asnumpy()
            words = -(-int(lengths.max()) // 4)
            own = np.zeros(words * 4, np.uint8)
            own[: len(data)] = np.frombuffer(data, np.uint8)
            parts: list[list[bytes]] = [[] for _ in range(self.world_size)]
            for first in range(0, words, CHUNK):
                chunk = own.view(np.int32)[first : first + CHUNK]
                everyone = collect(Tensor(chunk)).asnumpy().reshape(self.world_size, -1)
                if keep:
                    for part, row in zip(parts, everyone):
                        part.append(row.tobytes())
        return [b"".join(part)[:length] for part, length in zip(parts, lengths)] if keep else []

    def broadcast(self, data: bytes, reason: str) -> bytes:
        """Returns the ``data`` of rank 0, on all ranks; what the others give is not looked at."""
        if self.alone:
            return data
        from mindspore import Tensor, ops

        send = ops.Broadcast(0)
        with self.time_limit(reason):
            length = int(send((Tensor(np.array([len(data)], np.int64)),))[0].asnumpy()[0])
            buffer = np.zeros(-(-length // 4) * 4, np.uint8)
            if self.rank == 0:
                buffer[:length] = np.frombuffer(data, np.uint8)
            words = buffer.view(np.int32)
            for first in range(0, len(words), CHUNK):
                part = words[first : first + CHUNK]
                part[:] = send((Tensor(part.copy()),))[0].asnumpy()
        return buffer[:length].tobytes()

    def check_same(self, data: bytes, what: str) -> None:
        """Makes sure that all ranks have the same.

        Args:
            data: What this rank has.
            what: Its name, for the message.

        Raises:
            DistributedError: A rank has something else than rank 0.
        """
        here = f"{socket.gethostname()} {hashlib.sha256(data).hexdigest()}"
        everyone = [line.decode().split() for line in self.all_gather(here.encode(), f"{what} of the other ranks")]
        for rank, (host, digest) in enumerate(everyone):
            if digest != everyone[0][1]:
                raise DistributedError(
                    f"rank {rank} on {host} has other {what} than rank 0 on {everyone[0][0]}: make them the same"
                )

    @contextlib.contextmanager
    def time_limit(self, reason: str) -> Iterator[None]:
        """Ends the process if the block takes more than ``timeout`` seconds.

        Raises:
            PeersLost: A RuntimeError came out of the block: MindSpore has lost a peer.
        """
        timer = threading.Timer(self.timeout, self._give_up, (reason,))
        timer.daemon = True
        timer.start()
        try:
            yield
        except RuntimeError as error:
            raise PeersLost(
                f"rank {self.rank} lost its peers while waiting for {reason}: see their logs ({first_line(error)})"
            ) from error
        finally:
            timer.cancel()

    def _give_up(self, reason: str) -> None:
        print(
            f"error: rank {self.rank} has waited {self.timeout:g} s for {reason}: see the other ranks' logs; "
            "if they only need more time, raise wait_timeout",
            file=sys.stderr,
            flush=True,
        )
        os._exit(EXIT_LOST)


def set_time_limits(target: str, timeout: float) -> None:
    """Sets how long MindSpore and HCCL wait for a process that is late or gone, unless the user has.

    On a CPU MindSpore has one limit for both, so it must be the longer one; processes of this host that are gone are
    the launcher's matter. HCCL accepts 120 to 7200 s to connect and 68 to 17340 s for an operation.
    """
    late = math.ceil(timeout) + MARGIN
    os.environ.setdefault("MS_NODE_TIMEOUT", str(late if target == "CPU" else GONE))
    if target == "Ascend":
        os.environ.setdefault("HCCL_CONNECT_TIMEOUT", str(min(max(late, 120), 7200)))
        os.environ.setdefault("HCCL_EXEC_TIMEOUT", str(min(max(late, 68), 17340)))


def stop_with_launcher() -> None:
    """Has this process save and stop if the launcher is killed, as if it had passed on a signal.

    The launcher is its parent as soon as msrun, which started it, has ended.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or is_scheduler():
        return
    deadline = time.monotonic() + ADOPTED
    while str(os.getppid()) != launcher and time.monotonic() < deadline:
        time.sleep(0.1)
    if str(os.getppid()) == launcher:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def first_line(error: BaseException) -> str:
    """Returns the first line of a message of MindSpore, which go on for pages."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
