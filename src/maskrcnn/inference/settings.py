"""How image files become detections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskrcnn.config import Config


@dataclass(frozen=True)
class InferenceSettings:
    """The canvas, the batches and the pasting of masks.

    Attributes:
        img_height: Rows of the landscape canvas in pixels.
        img_width: Columns of the landscape canvas in pixels.
        keep_ratio: Whether images keep the ratio of their sides; otherwise they are stretched to the whole canvas.
        both_canvases: Whether upright images have a canvas of their own; otherwise they are fitted into that one.
        batch_size: Images to a batch.
        workers: Threads that decode images, and threads that paste masks.
        mask_threshold: Lowest probability of a pixel that belongs to an object.
        paste: How masks are pasted, one of ``PASTE_RULES``.
        tile: Side in pixels of the tiles that larger images are cut into; 0 takes images whole.
        overlap: The share of a tile that neighbouring tiles have in common, or more.
        strict: Whether an image that cannot be read is an error; otherwise it is left out and reported.
    """

    img_height: int
    img_width: int
    keep_ratio: bool
    both_canvases: bool
    batch_size: int
    workers: int
    mask_threshold: float
    paste: str
    tile: int
    overlap: float
    strict: bool

    @classmethod
    def from_config(cls, cfg: Config, both_canvases: bool = True) -> InferenceSettings:
        """Returns the settings of a run, whose model may have one canvas only."""
        return cls(
            img_height=cfg.img_height,
            img_width=cfg.img_width,
            keep_ratio=cfg.keep_ratio,
            both_canvases=both_canvases,
            batch_size=cfg.test_batch_size,
            workers=cfg.num_parallel_workers,
            mask_threshold=cfg.mask_thr_binary,
            paste=cfg.paste,
            tile=cfg.tile,
            overlap=cfg.overlap,
            strict=cfg.strict,
        )
