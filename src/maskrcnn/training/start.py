"""Where a run starts: settings and weights of the checkpoint that it continues, or of the one it begins with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import load_meta
from maskrcnn.checkpoint.weights import LoadedWeights
from maskrcnn.config import Config
from maskrcnn.config.limits import shown
from maskrcnn.config.stored import TO_CONTINUE, TO_START, with_stored
from maskrcnn.convert import read_weights
from maskrcnn.distributed.process_group import ProcessGroup

AUTO = "auto"


@dataclass(frozen=True)
class Start:
    """The beginning of a run.

    Attributes:
        cfg: Its settings, those of a checkpoint included.
        resume: The checkpoint that it continues.
        weights: What it begins with otherwise; None for random weights, and on all ranks but 0.
    """

    cfg: Config
    resume: Path | None = None
    weights: LoadedWeights | None = None


def find_start(cfg: Config, checkpoints: CheckpointFolder | None, group: ProcessGroup) -> Start:
    """Finds the checkpoint that a run starts from, and joins its settings with those of the command line.

    Args:
        cfg: The settings of the command line.
        checkpoints: The folder in which ``resume auto`` looks.
        group: The processes of the run; rank 0 alone reads checkpoints, which need not lie on other hosts.

    Raises:
        MaskRCNNError: The checkpoint cannot be used, or settings contradict it.
    """
    resume, weights = None, None
    stored: dict[str, Any] = {}
    if group.rank == 0:
        resume = _resumed(cfg, checkpoints)
        if resume:
            stored = load_meta(resume).get("config", {})
        elif cfg.pre_trained:
            weights = read_weights(cfg.pre_trained)
            stored = weights.meta.get("config", {})
    message = json.dumps([str(resume or ""), stored]).encode()
    path, stored = json.loads(group.broadcast(message, "rank 0 to find the checkpoint to start from"))
    resume = Path(path) if path else None
    if not stored:
        return Start(cfg, resume, weights)
    joined, notes = with_stored(cfg, stored, path or cfg.pre_trained, TO_CONTINUE if resume else TO_START)
    if group.rank == 0:
        for note in notes:
            print(f"note: {note}", flush=True)
        taken = [f"{key} {shown(value)}" for key, value in joined.to_dict().items() if value != cfg.to_dict()[key]]
        if taken and not resume:
            print(f"as in {cfg.pre_trained}: {', '.join(taken)}; give a key to choose otherwise", flush=True)
    return Start(joined, resume, weights)


def _resumed(cfg: Config, checkpoints: CheckpointFolder | None) -> Path | None:
    if cfg.resume != AUTO:
        return Path(cfg.resume) if cfg.resume else None
    newest = checkpoints.newest() if checkpoints else None
    if newest is None:
        print(f"resume auto: no checkpoint in {cfg.save_checkpoint_path} yet, starting anew", flush=True)
    return newest
