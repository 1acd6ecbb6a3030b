"""Where the network runs."""

from __future__ import annotations

import mindspore as ms

from maskrcnn.errors import ConfigError


def set_device(target: str, device_id: int) -> None:
    """Static graphs on the device "CPU", "GPU" or "Ascend"; ConfigError if it is not there."""
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device_target is {target}, device_id {device_id}: not available ({reason})") from error
