"""The same weights on all ranks."""

from __future__ import annotations

from collections.abc import Iterable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

from maskrcnn.distributed.process_group import ProcessGroup


def share_parameters(parameters: Iterable[Parameter], group: ProcessGroup) -> None:
    """Gives ``parameters`` the values that they have on rank 0, bit for bit; their shapes are the same on all ranks."""
    if group.alone:
        return
    parameters = list(parameters)
    data = b"".join(p.asnumpy().tobytes() for p in parameters) if group.rank == 0 else b""
    data = group.broadcast(data, "the weights of rank 0")
    start = 0
    for parameter in parameters:
        kind = np.dtype(ms.dtype_to_nptype(parameter.dtype))
        array = np.frombuffer(data, kind, parameter.size, start).reshape(parameter.shape)
        parameter.set_data(Tensor(array))
        start += array.nbytes
