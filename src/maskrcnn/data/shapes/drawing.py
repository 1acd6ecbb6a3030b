"""Drawing the scenes of the shapes data set: textured backgrounds, overlapping shapes, crowds, noise.

Every random number comes from the generator a scene is given. Later shapes lie on top; a shape is placed only where all
shapes below it stay well visible, so that whatever can be seen is annotated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

UPRIGHT_SHARE = 0.15  # of the pictures are transposed
EMPTY_SHARE = 0.02  # of the pictures hold no object
CROWD_SHARE = 0.12  # of the others hold a crowd
MIN_VISIBLE = 0.4  # of a shape's pixels
MIN_AREA = 80  # visible pixels

# Radius as a fraction of the picture's shorter side, and how often: small, medium, large.
_RADII = ((0.05, 0.08, 0.2), (0.08, 0.15, 0.5), (0.15, 0.27, 0.3))
_ATTEMPTS = 12
_MIN_CONTRAST = 70.0  # Euclidean RGB distance of a shape's colour from what it is drawn on
_HUE_SPREAD = 14.0  # degrees: each class has a hue it is usually near, neighbours being 60 degrees away
_SUPERSAMPLE = 4  # shapes are drawn that much larger and averaged, which gives smooth edges


@dataclass(frozen=True)
class Instance:
    """An annotated object.

    Attributes:
        category: its class.
        visible: bool [h, w], the pixels of it that nothing hides.
        drawn: how many pixels it had when it was drawn.
        crowd: whether it is a cluster that is annotated as one region.
    """

    category: str
    visible: np.ndarray
    drawn: int
    crowd: bool = False


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], categories: Sequence[str]
) -> tuple[np.ndarray, list[Instance]]:
    """Draws one picture.

    Args:
        rng: draws everything.
        size: (height, width) of a landscape picture.
        categories: names of the classes, see ``shape_rings``.

    Returns:
        The picture, uint8 RGB [h, w, 3], and its instances from back to front.
    """
    height, width = size[::-1] if rng.random() < UPRIGHT_SHARE else size
    picture = _background(rng, height, width)
    instances: list[Instance] = []
    if rng.random() >= EMPTY_SHARE:
        if rng.random() < CROWD_SHARE:
            _add_crowd(rng, picture, instances, *_choose(rng, categories))
        for _ in range(int(rng.integers(2, 8))):
            _add_shape(rng, picture, instances, *_choose(rng, categories))
    return _camera(rng, picture), instances


def _choose(rng: np.random.Generator, categories: Sequence[str]) -> tuple[str, float]:
    """A class and its usual hue in degrees."""
    index = int(rng.integers(len(categories)))
    return categories[index], 360.0 * index / len(categories)


def _add_shape(
    rng: np.random.Generator, picture: np.ndarray, instances: list[Instance], category: str, hue: float
) -> None:
    """Draws one shape where enough of the others stays visible; none if no such place is found soon."""
    height, width = picture.shape[:2]
    low, high, _ = _RADII[rng.choice(len(_RADII), p=[share for *_, share in _RADII])]
    radius = rng.uniform(low, high) * min(height, width)
    rings = shape_rings(rng, category, radius)
    margin = 0.6 * radius  # between centre and border, so that the class of a cut shape can be told
    for _ in range(_ATTEMPTS):
        centre = rng.uniform(margin, [width - margin, height - margin])
        alpha = _coverage(rings, centre, height, width)
        mask = alpha >= 0.5
        remaining = [replace(item, visible=item.visible & ~mask) for item in instances]
        if mask.sum() >= MIN_AREA and all(_well_visible(item) for item in remaining):
            instances[:] = [*remaining, Instance(category, mask, int(mask.sum()))]
            _paint(rng, picture, alpha, hue)
            return


def _well_visible(item: Instance) -> bool:
    return bool(item.visible.sum() >= max(MIN_AREA, MIN_VISIBLE * item.drawn))


def _add_crowd(
    rng: np.random.Generator, picture: np.ndarray, instances: list[Instance], category: str, hue: float
) -> None:
    """Draws a cluster of tiny shapes of one class that are annotated together."""
    height, width = picture.shape[:2]
    scale = min(height, width)
    middle = rng.uniform(0.2, 0.8, 2) * (width, height)
    region = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(10, 18))):
        radius = rng.uniform(0.018, 0.028) * scale
        offset = rng.uniform(-0.14, 0.14, 2) * scale
        alpha = _coverage(shape_rings(rng, category, radius), middle + offset, height, width)
        _paint(rng, picture, alpha, hue)
        region |= alpha >= 0.5
    instances.append(Instance(category, region, int(region.sum()), crowd=True))


def shape_rings(rng: np.random.Generator, category: str, radius: float) -> list[np.ndarray]:
    """Returns the outline of a randomly rotated shape around the origin, polygons float64 [n, 2]; a second is a hole.

    Args:
        rng: draws the rotation and the proportions.
        category: circle, ring, square, triangle, star or cross.
        radius: in pixels.
    """
    if category in ("circle", "ring"):
        outer = _regular(48, radius)
        return [outer] if category == "circle" else [outer, _regular(48, radius * rng.uniform(0.45, 0.65))]
    if category == "square":
        points = _regular(4, radius)
    elif category == "triangle":
        points = _regular(3, radius * 1.15)
    elif category == "star":
        points = _regular(10, radius * 1.1)
        points[1::2] *= rng.uniform(0.4, 0.5)
    elif category == "cross":
        arm = radius * rng.uniform(0.26, 0.36)
        corner = np.array([(arm, arm), (arm, radius), (-arm, radius)])
        quarter = np.array([[0, 1], [-1, 0]])
        points = np.concatenate([corner @ np.linalg.matrix_power(quarter, times) for times in range(4)])
    else:
        raise ValueError(f"no shape is called {category!r}")
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [points @ rotation * rng.uniform(0.9, 1.1, 2)]


def _regular(corners: int, radius: float) -> np.ndarray:
    angles = np.arange(corners) * 2 * np.pi / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _coverage(rings: list[np.ndarray], centre: np.ndarray, height: int, width: int) -> np.ndarray:
    """The share of every pixel that lies inside the polygons, minus the second one; float32 [h, w]."""
    points = np.concatenate(rings) + centre
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int), (width, height))
    alpha = np.zeros((height, width), np.float32)
    if right <= left or bottom <= top:
        return alpha
    window = np.zeros(((bottom - top) * _SUPERSAMPLE, (right - left) * _SUPERSAMPLE), np.uint8)
    # fillPoly takes coordinates of pixel centres, in fixed point with 4 binary digits
    corners = [((ring + centre - (left, top)) * _SUPERSAMPLE - 0.5) * 16 for ring in rings]
    cv2.fillPoly(window, [np.round(ring).astype(np.int32) for ring in corners], 255, cv2.LINE_8, shift=4)
    small = cv2.resize(window, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    alpha[top:bottom, left:right] = small.astype(np.float32) / 255
    return alpha


def _colour(rng: np.random.Generator, hue: float) -> np.ndarray:
    """A colour near ``hue`` (degrees) of any brightness and little to full saturation, RGB in 0..255."""
    near = rng.normal(hue, _HUE_SPREAD) % 360.0
    hsv = np.array([[[near, rng.uniform(0.65, 1.0), rng.uniform(0.55, 1.0)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64) * 255


def _paint(rng: np.random.Generator, picture: np.ndarray, alpha: np.ndarray, hue: float) -> None:
    """Colours the shape ``alpha`` onto the picture in place: plain, shaded or striped, and seen against it."""
    left, top, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    inside = alpha[top : top + height, left : left + width, None]
    window = picture[top : top + height, left : left + width]
    below = (window * inside).sum(axis=(0, 1)) / max(float(inside.sum()), 1e-6)
    colour = _colour(rng, hue)
    while np.linalg.norm(colour - below) < _MIN_CONTRAST:
        colour = _colour(rng, hue)
    fill = np.broadcast_to(colour, window.shape)
    style = rng.random()
    if style < 0.35:
        fill = fill + _ramp(rng, height, width)[..., None] * rng.uniform(-60, 60, 3)
    elif style < 0.55:
        fill = fill + (_stripes(rng, height, width) > 0)[..., None] * rng.uniform(-40, 40, 3)
    window += inside * (np.clip(fill, 0, 255) - window)


def _dull(colour: np.ndarray) -> np.ndarray:
    """The colours [..., 3] with most of their saturation gone."""
    grey = colour.mean(axis=-1, keepdims=True)
    return grey + 0.25 * (colour - grey)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A textured picture without objects, float32 [h, w, 3] in 0..255."""
    base, other = _dull(rng.uniform(30, 225, (2, 3)))
    mix = _ramp(rng, height, width)[..., None] * rng.uniform(0.2, 0.8)
    picture = base + (other - base) * mix
    texture = rng.random()
    if texture < 0.35:
        picture = picture + _stripes(rng, height, width)[..., None] * _dull(rng.uniform(-40, 40, 3))
    elif texture < 0.8:
        cells = int(rng.integers(4, 24))
        blots = _dull(rng.normal(0, rng.uniform(16, 40), (cells, cells, 3)))
        picture = picture + cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.ascontiguousarray(picture, dtype=np.float32)
    for _ in range(int(rng.integers(0, 7))):  # lines that belong to nothing
        ends = (rng.uniform(-0.1, 1.1, (2, 2)) * (width, height) * 16).astype(int).tolist()
        colour = _dull(rng.uniform(0, 255, 3)).tolist()
        layer = picture.copy()
        cv2.line(layer, ends[0], ends[1], colour, int(rng.integers(1, 4)), cv2.LINE_8, shift=4)
        picture += rng.uniform(0.4, 0.9) * (layer - picture)
    return np.clip(picture, 0, 255)


def _plane(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """How far each pixel lies in a random direction, in pixels; float64 [h, w]."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.cos(angle) * np.arange(width) + np.sin(angle) * np.arange(height)[:, None]


def _ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A plane from 0 to 1 in a random direction, float64 [h, w]."""
    plane = _plane(rng, height, width)
    return (plane - plane.min()) / max(np.ptp(plane), 1.0)


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Waves between -1 and 1 in a random direction, float64 [h, w]."""
    return np.sin(_plane(rng, height, width) * (2 * np.pi / rng.uniform(5, 30)))


def _camera(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Brightness, a little blur and noise; uint8 [h, w, 3]."""
    picture = picture * np.float32(rng.uniform(0.6, 1.15))
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 0.9))
    strength = np.float32(rng.uniform(1, 8))
    picture = picture + strength * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
