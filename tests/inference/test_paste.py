"""The three paste rules against a float64 grid_sample, torchvision's own pastes, and pycocotools' encoder."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.inference.bitmaps import paste_bitmaps, paste_probabilities

from maskrcnn.config import Config, load_config
from maskrcnn.config.schema import key_limits
from maskrcnn.inference.images import ImageBatch, ImageSource, LoadedImage
from maskrcnn.inference.paste import PASTE_RULES, encode_masks
from maskrcnn.inference.pipeline import Speed, detect_batches
from maskrcnn.inference.results import Detections
from maskrcnn.inference.settings import InferenceSettings


def grid_sample_float64(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """grid_sample(bilinear, zeros, align_corners=False) at the pixel centres in the box's frame."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    size = mask.shape[0]
    grid_x = (np.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
    grid_y = (np.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
    u = ((grid_x + 1) * size - 1) / 2
    v = ((grid_y + 1) * size - 1) / 2
    out = np.zeros((height, width))
    for down in (0, 1):
        for right in (0, 1):
            i, j = np.floor(v).astype(int) + down, np.floor(u).astype(int) + right
            weight_y, weight_x = 1 - np.abs(v - i), 1 - np.abs(u - j)
            inside = ((i >= 0) & (i < size))[:, None] & ((j >= 0) & (j < size))[None, :]
            cell = mask.astype(np.float64)[np.clip(i, 0, size - 1)][:, np.clip(j, 0, size - 1)]
            out += np.where(inside, cell, 0) * weight_y[:, None] * weight_x[None, :]
    return out


def random_boxes(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Boxes of 0.5 px up to more than the image, some beyond its edges."""
    size = np.exp(rng.uniform(np.log(0.5), np.log(1.3 * max(height, width)), (count, 2)))
    corner = rng.uniform(-0.2, 1, (count, 2)) * [width, height]
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


def test_equals_grid_sample() -> None:
    rng = np.random.default_rng(0)
    for box in random_boxes(rng, 60, 61, 83):
        mask = rng.random((28, 28), np.float32)
        expected = grid_sample_float64(mask, box, 61, 83)
        # float32 positions are good to 1e-5 of a cell or, in a box of a pixel, to less
        tolerance = 2e-4 * max(1, 28 / min(box[2] - box[0], box[3] - box[1]))
        np.testing.assert_allclose(paste_probabilities(mask, box, 61, 83), expected, atol=tolerance)


def test_equals_the_documented_steps_bit_by_bit() -> None:
    """One pixel at a time in float32, as a program in another language would do it."""
    rng = np.random.default_rng(3)
    one, half = np.float32(1), np.float32(0.5)
    for box in random_boxes(rng, 12, 17, 23):
        mask = rng.random((28, 28), np.float32)
        padded = np.pad(mask, 1)
        expected = np.zeros((17, 23), np.float32)
        for y in range(17):
            for x in range(23):
                u = (np.float32(x) + half - box[0]) / (box[2] - box[0]) * np.float32(28) - half
                v = (np.float32(y) + half - box[1]) / (box[3] - box[1]) * np.float32(28) - half
                if not (-one < u < 28 and -one < v < 28):
                    continue
                i, j = int(np.floor(v)) + 1, int(np.floor(u)) + 1
                f, g = v - np.floor(v), u - np.floor(u)
                left = padded[i, j] + (padded[i + 1, j] - padded[i, j]) * f
                right = padded[i, j + 1] + (padded[i + 1, j + 1] - padded[i, j + 1]) * f
                expected[y, x] = (right - left) * g + left
        assert (paste_probabilities(mask, box, 17, 23) == expected).all()


def test_a_full_mask_fills_the_pixels_whose_centres_lie_in_the_box() -> None:
    box = np.array([2.4, 3.6, 7.5, 9.0], np.float32)
    pasted = paste_bitmaps(np.ones((1, 28, 28), np.float32), box[None], 12, 12)[0]
    y, x = np.nonzero(pasted)
    # the centre 7.5 lies on the edge, where the interpolated value is exactly the threshold
    assert (x.min(), x.max(), y.min(), y.max()) == (2, 7, 4, 8)
    assert pasted.sum() == 6 * 5


def test_threshold_is_inclusive() -> None:
    half = np.full((1, 28, 28), 0.5, np.float32)
    box = np.array([[0, 0, 56, 56]], np.float32)
    assert paste_bitmaps(half, box, 56, 56, threshold=0.5)[0, 2:-2, 2:-2].all()
    assert not paste_bitmaps(half, box, 56, 56, threshold=0.50001).any()


@pytest.mark.parametrize("rule", PASTE_RULES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (120, 90)])
def test_encoding_equals_pycocotools(shape: tuple[int, int], rule: str) -> None:
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 80, *shape)
    boxes[:4] = [[0, 0, shape[1], shape[0]], [5, 5, 5, 5], [-50, -50, -40, -40], [-9, -9, 999, 999]]
    masks = rng.random((80, 28, 28), np.float32) ** rng.uniform(0.1, 2, (80, 1, 1)).astype(np.float32)
    masks[0] = masks[3] = 1
    bitmaps = paste_bitmaps(masks, boxes, *shape, rule=rule)
    rles = encode_masks(masks, boxes, *shape, rule=rule)
    for bitmap, rle in zip(bitmaps, rles):
        assert rle == coco_mask.encode(np.asfortranarray(bitmap))


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [9, 5, 5, 9], [5, 5, 5 + 1e-6, 9], [30, 30, 40, 40]])
def test_boxes_of_no_width_or_outside_are_empty(box: list[float]) -> None:
    pasted = paste_bitmaps(np.ones((1, 28, 28), np.float32), np.array([box], np.float32), 20, 20)
    assert pasted.shape == (1, 20, 20) and not pasted.any()


def test_no_masks() -> None:
    nothing = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert encode_masks(*nothing, 10, 12) == []
    assert paste_bitmaps(*nothing, 10, 12).shape == (0, 10, 12)


def test_torchvisions_rule_equals_torchvision(parity_file) -> None:
    with np.load(parity_file) as data:
        boxes, masks = data["eval/det_boxes"], data["eval/mask_prob"][:, 0]
        first = 0
        for image, count in enumerate(data["eval/det_boxes_count"]):
            expected_prob = data[f"eval/pasted_mask_prob_{image}_first8"]
            height, width = expected_prob.shape[1:]
            packed = data[f"eval/pasted_mask_{image}"]
            expected = np.unpackbits(packed, axis=2)[:, :, :width]
            rows = slice(first, first + count)
            pasted = paste_bitmaps(masks[rows], boxes[rows], height, width, rule="torchvision")
            assert expected.mean() > 0.01
            assert (pasted != expected).mean() <= 5e-4
            for mask, box, prob in zip(masks[rows], boxes[rows], expected_prob):
                ours = paste_probabilities(mask, box, height, width, rule="torchvision")
                np.testing.assert_allclose(ours, prob, atol=1e-5)
            first += count


def test_the_model_zoos_rule_equals_the_model_zoo() -> None:
    """Its get_seg_masks: resize with OpenCV to the whole pixels that the box begins and ends with, then threshold."""
    rng = np.random.default_rng(4)
    height, width = 61, 83
    boxes = np.clip(random_boxes(rng, 80, height, width), 0, [width, height, width, height]).astype(np.float32)
    boxes[:3] = [[0, 0, width, height], [7.9, 8.2, 7.95, 8.9], [0, 0, width - 1, height - 1]]
    boxes = boxes[(boxes[:, :2] < [width, height]).all(1)]
    masks = rng.random((len(boxes), 28, 28), np.float32)
    pasted = paste_bitmaps(masks, boxes, height, width, rule="mindspore_zoo")
    for mask, box, bitmap in zip(masks, boxes, pasted):
        x1, y1, x2, y2 = box.astype(int)
        w, h = min(x2 - x1 + 1, width - x1), min(y2 - y1 + 1, height - y1)
        expected = np.zeros((height, width), np.float32)
        expected[y1 : y1 + h, x1 : x1 + w] = cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR)
        found = paste_probabilities(mask, box, height, width, rule="mindspore_zoo")
        np.testing.assert_allclose(found, expected, atol=1e-5)
        clear = np.abs(expected - 0.5) > 1e-5
        assert (bitmap == (expected > 0.5))[clear].all() and clear.mean() > 0.99
    full = paste_bitmaps(
        np.ones((1, 28, 28), np.float32), np.float32([[2.4, 3.6, 7.5, 9.0]]), 12, 12, rule="mindspore_zoo"
    )
    y, x = np.nonzero(full[0])
    assert (x.min(), x.max(), y.min(), y.max()) == (2, 7, 3, 9) and full.sum() == 6 * 7
    outside = np.float32([[83, 5, 83, 9], [5, 70, 9, 80]])
    assert not paste_bitmaps(np.ones((2, 28, 28), np.float32), outside, height, width, rule="mindspore_zoo").any()


def test_every_rule_is_a_choice_of_the_configuration() -> None:
    assert key_limits()["paste"].choices == PASTE_RULES and Config().paste == "exact"


@pytest.mark.parametrize("name", ["torchvision", "mindspore_zoo"])
def test_a_configuration_pastes_by_its_rule(name: str) -> None:
    """From the file in configs/ to the pixels: the rules differ in what they make of this box."""
    file = Path(__file__).resolve().parents[2] / "configs" / f"{name}.yaml"
    settings = InferenceSettings.from_config(load_config(["--config_path", str(file)]))
    assert settings.paste == name
    image = LoadedImage(ImageSource(1, Path("a.jpg")), (40, 50), (64, 64), np.zeros((40, 50, 3), np.uint8))
    batch = ImageBatch(np.zeros((1, 64, 64, 3), np.uint8), np.float32([[40, 50]]), [image])
    box, mask = np.float32([2.4, 3.6, 7.5, 9.0]), np.ones((1, 1, 28, 28), np.float32)
    found = Detections(box[None, None], np.ones((1, 1)), np.ones((1, 1), int), np.ones((1, 1), bool), mask)
    (result,) = detect_batches(lambda *_: found, [batch], [1], settings, Speed())
    expected = paste_bitmaps(mask[0], box[None], 40, 50, rule=name)[0]
    assert (coco_mask.decode(result.segm[0]["segmentation"]) == expected).all()
    assert (expected != paste_bitmaps(mask[0], box[None], 40, 50, rule="exact")[0]).any()


def test_a_hundred_detections_take_well_under_150_ms() -> None:
    rng = np.random.default_rng(2)
    boxes = np.clip(random_boxes(rng, 100, 480, 640), 0, np.array([640, 480] * 2, np.float32))
    masks = rng.random((100, 28, 28), np.float32)  # noise: far more runs than real masks have
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        encode_masks(masks, boxes, 480, 640)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.15
