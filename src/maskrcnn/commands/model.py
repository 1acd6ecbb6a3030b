"""What the commands that run a model have in common."""

from __future__ import annotations

from maskrcnn.config import Config
from maskrcnn.distributed.process_group import ProcessGroup, started_by_msrun
from maskrcnn.inference.open import model_file, needs_mindspore


def prepare_device(cfg: Config) -> ProcessGroup:
    """Sets the device that the run's model needs, and meets the other processes of a job, which must have its file.

    Raises:
        MaskRCNNError: There is no model file, no such device, or the processes do not fit each other.
    """
    path = model_file(cfg)
    if not (started_by_msrun() or needs_mindspore(path)):
        return ProcessGroup()
    from maskrcnn.device import join_process_group  # imports MindSpore, which takes seconds

    group = join_process_group(cfg)
    group.check_same(path.read_bytes() if not group.alone else b"", f"contents of {path}")
    return group
