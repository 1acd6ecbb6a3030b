"""The random view of a photograph that training sees: rotated, mirrored, resized, cropped, zoomed out, recoloured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maskrcnn.data.batches.transforms import fit_size, jitter_colour, resize_image
from maskrcnn.data.sources.orientation import (
    UPRIGHT,
    exchanges_sides,
    inverse,
    orient_boxes,
    orient_image,
    orientation_of,
)

if TYPE_CHECKING:
    from maskrcnn.config import Config


@dataclass(frozen=True)
class Augmentation:
    """How training images are fitted and varied; the defaults change nothing but the size.

    Attributes:
        keep_ratio: keep the ratio of the sides when fitting into the canvas.
        flip_ratio: probability of a left-right flip.
        vertical_flip_ratio: probability of a top-bottom flip.
        rotate_ratio: probability of a rotation by 90, 180 or 270 degrees. The rotated image is fitted into the same
            canvas, so it becomes smaller where the canvas is not square.
        photo_ratio: probability of colour jitter.
        expand_ratio: largest zoom-out; the factor is uniform in [1, expand_ratio], the place random, the border
            ``fill``.
        multi_scale: factors of the canvas, one of which is drawn for each image. What is larger than the canvas is
            cropped at a random place.
        scale_jitter: lowest and highest factor of the canvas, drawn uniformly beside ``multi_scale``: large scale
            jittering (Ghiasi et al. 2021, section 3) with (0.1, 2.0).
        copy_paste_ratio: probability that objects of another image are pasted into an image (see ``copy_paste``).
        fill: RGB colour around a zoomed-out image.
    """

    keep_ratio: bool = True
    flip_ratio: float = 0.0
    vertical_flip_ratio: float = 0.0
    rotate_ratio: float = 0.0
    photo_ratio: float = 0.0
    expand_ratio: float = 1.0
    multi_scale: tuple[float, ...] = (1.0,)
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    copy_paste_ratio: float = 0.0
    fill: tuple[int, int, int] = (124, 116, 104)

    @classmethod
    def from_config(cls, cfg: Config) -> Augmentation:
        """Returns the augmentation of a run."""
        return cls(
            keep_ratio=cfg.keep_ratio,
            flip_ratio=cfg.flip_ratio,
            vertical_flip_ratio=cfg.vertical_flip_ratio,
            rotate_ratio=cfg.rotate_ratio,
            photo_ratio=cfg.photo_ratio,
            expand_ratio=cfg.expand_ratio,
            multi_scale=tuple(cfg.multi_scale),
            scale_jitter=tuple(cfg.scale_jitter),
            copy_paste_ratio=cfg.copy_paste_ratio,
            fill=tuple(int(value + 0.5) for value in cfg.pixel_mean),
        )


@dataclass(frozen=True)
class View:
    """Where and how one photograph appears on the canvas; all sizes in pixels, as (height, width).

    Attributes:
        source: size of the photograph.
        canvas: size of the canvas.
        valid: the part of the canvas, from its corner, that is not padding.
        content: size of the photograph after it is oriented and resized.
        offset: (top, left) of the content on the canvas; negative where it is cropped.
        orientation: how the photograph is rotated and mirrored, see ``orientation``.
        jitter: whether its colours are changed.
    """

    source: tuple[int, int]
    canvas: tuple[int, int]
    valid: tuple[int, int]
    content: tuple[int, int]
    offset: tuple[int, int] = (0, 0)
    orientation: int = UPRIGHT
    jitter: bool = False

    @property
    def crops(self) -> bool:
        """Whether a part of the photograph lies beyond the canvas."""
        return any(place < 0 or place + side > room for place, side, room in zip(self.offset, self.content, self.valid))

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Returns boxes [n, 4] of the photograph as float64 [n, 4] in canvas pixels, clipped to what is seen of it."""
        height, width = self._resized
        scale = np.array([width / self.source[1], height / self.source[0]] * 2)
        moved = np.clip(boxes.astype(np.float64) * scale, 0, [width, height] * 2)
        moved = orient_boxes(moved, height, width, self.orientation) + np.array([self.offset[1], self.offset[0]] * 2)
        return np.clip(moved, 0, [self.valid[1], self.valid[0]] * 2) if self.crops else moved

    def source_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Returns boxes [n, 4] of the canvas as float64 [n, 4] in pixels of the photograph; undoes ``boxes``."""
        moved = boxes.astype(np.float64) - np.array([self.offset[1], self.offset[0]] * 2)
        moved = orient_boxes(moved, *self.content, inverse(self.orientation))
        height, width = self._resized
        return moved / np.array([width / self.source[1], height / self.source[0]] * 2)

    def nearest(self, axis: int, pixels: np.ndarray) -> np.ndarray:
        """Returns the rows or columns of the oriented photograph nearest to those of the canvas; -1 beside it.

        Args:
            axis: of the canvas, 0 for rows.
            pixels: int, rows or columns of the canvas.
        """
        place = pixels - self.offset[axis]
        side = self.source[1 - axis if exchanges_sides(self.orientation) else axis]
        return np.where((place >= 0) & (place < self.content[axis]), place * side // self.content[axis], -1)

    def draw(self, rgb: np.ndarray, out: np.ndarray, fill: tuple[int, int, int], rng: np.random.Generator) -> None:
        """Draws the photograph.

        Args:
            rgb: uint8 [h, w, 3], the photograph.
            out: uint8 [H, W, 3], a canvas of zeros to draw on.
            fill: RGB colour of what is neither photograph nor padding.
            rng: draws the change of colours.
        """
        if self.jitter:
            rgb = jitter_colour(rgb, rng)
        if self.content != self.valid:
            out[: self.valid[0], : self.valid[1]] = fill
        resized = resize_image(orient_image(rgb, self.orientation), *self.content)
        first = [max(place, 0) for place in self.offset]
        last = [min(place + side, room) for place, side, room in zip(self.offset, self.content, self.valid)]
        (top, left), (bottom, right) = first, last
        if bottom > top and right > left:
            y, x = self.offset
            out[top:bottom, left:right] = resized[top - y : bottom - y, left - x : right - x]

    @property
    def _resized(self) -> tuple[int, int]:
        """The size of the resized photograph before it is oriented."""
        return self.content[::-1] if exchanges_sides(self.orientation) else self.content


def draw_view(
    height: int,
    width: int,
    canvas: tuple[int, int],
    augmentation: Augmentation,
    rng: np.random.Generator,
    rng_geometry: np.random.Generator,
) -> View:
    """Draws a random view of an image.

    The number of draws does not depend on the settings: switching one off leaves what the others draw unchanged.

    Args:
        height: rows of the image.
        width: columns of the image.
        canvas: (H, W).
        augmentation: the settings.
        rng: draws multi_scale, expand_ratio, flip_ratio and photo_ratio.
        rng_geometry: draws scale_jitter, the place of a crop, vertical_flip_ratio and rotate_ratio.
    """
    scale, zoom, top, left, flip, jitter = rng.random(6)
    size, crop_top, crop_left, vertical, rotate = rng_geometry.random(5)
    quarters = 1 + int(3 * rotate / augmentation.rotate_ratio) if rotate < augmentation.rotate_ratio else 0
    mirror = bool(vertical < augmentation.vertical_flip_ratio), bool(flip < augmentation.flip_ratio)
    orientation = orientation_of(quarters, *mirror)
    shown = (width, height) if exchanges_sides(orientation) else (height, width)
    lowest, highest = augmentation.scale_jitter
    factor = augmentation.multi_scale[int(scale * len(augmentation.multi_scale))]
    factor *= lowest + size * (highest - lowest)
    room = [max(int(side * factor + 0.5), 1) for side in canvas]
    fitted = fit_size(*shown, *room, augmentation.keep_ratio)
    zoom_out = 1.0 + zoom * (augmentation.expand_ratio - 1.0)
    content = (max(int(fitted[0] / zoom_out + 0.5), 1), max(int(fitted[1] / zoom_out + 0.5), 1))
    offset = [int(top * (fitted[0] - content[0] + 1)), int(left * (fitted[1] - content[1] + 1))]
    valid = (min(fitted[0], canvas[0]), min(fitted[1], canvas[1]))
    for axis, place in enumerate((crop_top, crop_left)):
        offset[axis] -= int(place * (fitted[axis] - valid[axis] + 1))
    return View(
        source=(height, width),
        canvas=canvas,
        valid=valid,
        content=content,
        offset=(offset[0], offset[1]),
        orientation=orientation,
        jitter=bool(jitter < augmentation.photo_ratio),
    )
