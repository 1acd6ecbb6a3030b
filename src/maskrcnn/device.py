"""Where the network runs."""

from __future__ import annotations

import mindspore as ms

from maskrcnn.config import Config
from maskrcnn.distributed.process_group import ProcessGroup, local_device
from maskrcnn.errors import ConfigError


def set_device(target: str, device_id: int) -> None:
    """Static graphs on the device "CPU", "GPU" or "Ascend"; ConfigError if it is not there.

    A process of a job has a device of its own in place of ``device_id``.
    """
    device_id = local_device(device_id)
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        if "initialized" in str(error) and is_current(target, device_id):
            return  # something ran before in this process, and on this very device
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device_target is {target}, device_id {device_id}: not available ({reason})") from error


def is_current(target: str, device_id: int) -> bool:
    """Whether MindSpore already computes on this device."""
    return ms.get_context("device_target") == target and (target == "CPU" or ms.get_context("device_id") == device_id)


def join_process_group(cfg: Config) -> ProcessGroup:
    """The device of this process, and its place among the processes of its job."""
    set_device(cfg.device_target, cfg.device_id)
    return ProcessGroup.join(cfg.wait_timeout)
