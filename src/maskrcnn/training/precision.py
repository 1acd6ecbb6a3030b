"""Half precision where it pays."""

from __future__ import annotations

import mindspore as ms

from maskrcnn.models.mask_rcnn import MaskRCNN


def mixed_precision(network: MaskRCNN, level: str) -> MaskRCNN:
    """Puts the backbone and the pyramid, where nearly all the time goes, into half precision.

    Box coordinates need more than the 11 bits of float16, so what computes with them stays float32. A CPU emulates half
    precision: O0 is the fast path there.

    Args:
        network: The network, changed in place; its parameters stay float32 and keep their names.
        level: "O0" leaves it as it is, "O2" keeps norms in float32, "O3" does not.

    Returns:
        The network.
    """
    if level == "O0":
        return network
    if ms.get_context("device_target") == "CPU":
        print(f"mixed_precision {level} is emulated, and slower than O0, on a CPU", flush=True)
    for name in ("backbone", "fpn"):
        part = ms.amp.auto_mixed_precision(getattr(network, name), level)
        network._cells[name] = part  # not setattr, which would rename the parameters
    return network
