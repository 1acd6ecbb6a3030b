"""Where the network runs."""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path

import mindspore as ms

from maskrcnn.config import Config
from maskrcnn.distributed.process_group import ProcessGroup, local_device
from maskrcnn.errors import ConfigError

AUTO = "auto"
ACCELERATORS = ("Ascend", "GPU")  # in the order in which auto looks for them


def set_device(target: str, device_id: int) -> None:
    """Chooses static graphs and the device, and prints its name once.

    Args:
        target: "Ascend", "GPU", "CPU", or "auto" for the first of them that is there.
        device_id: Number of the card; a process of a job has a device of its own in its place.

    Raises:
        ConfigError: The device is not there.
    """
    device_id = local_device(device_id)
    chosen = find_device() if target == AUTO else target
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        ms.set_device(chosen, device_id)
    except (RuntimeError, ValueError) as error:
        if "initialized" not in str(error) or not is_current(chosen, device_id):
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"device_target is {target}, device_id {device_id}: not available ({reason})") from error
    announce(chosen, device_id, found=target == AUTO)


def find_device() -> str:
    """Returns the device that "auto" means: one in use already, else an accelerator, else the CPU."""
    current = ms.get_context("device_target")
    candidates = sorted(ACCELERATORS, key=lambda name: name != current)
    return next((name for name in candidates if ms.hal.is_available(name)), "CPU")


@functools.cache
def announce(target: str, device_id: int, found: bool) -> None:
    """Prints where the network runs; once for each device of a process."""
    if target == "CPU":
        missing = f", no {' or '.join(ACCELERATORS)} device was found" if found else ""
        print(f"device: CPU ({processor_name()}){missing}", flush=True)
    else:
        print(f"device: {target} {device_id} ({ms.hal.get_device_name(device_id, target)})", flush=True)


def processor_name() -> str:
    """Returns the name of this machine's processor, or its kind where the system does not say the name."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def is_current(target: str, device_id: int) -> bool:
    """Tells whether MindSpore already computes on this device."""
    return ms.get_context("device_target") == target and (target == "CPU" or ms.get_context("device_id") == device_id)


def join_process_group(cfg: Config) -> ProcessGroup:
    """Chooses the device of this process; returns its place among the processes of its job."""
    set_device(cfg.device_target, cfg.device_id)
    return ProcessGroup.join(cfg.wait_timeout)
