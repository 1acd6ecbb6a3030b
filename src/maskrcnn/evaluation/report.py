"""An evaluation as text: COCO's tables, the AP of each class, skipped images and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maskrcnn.evaluation.metrics import Metrics
from maskrcnn.inference.images import Skipped
from maskrcnn.inference.pipeline import Speed

MOST_SKIPPED_SHOWN = 10


def coco_table(metrics: Metrics) -> str:
    """Returns the metrics of one kind in COCO's or LVIS's own wording, so that old scripts can still read them."""
    lines = [f"Evaluate annotation type *{metrics.kind}*", "Accumulating evaluation results..."]
    for row in metrics.rows:
        title = "Average Precision  (AP)" if row.name.startswith("AP") else "Average Recall     (AR)"
        classes = f"catIds={row.frequency:>3}" if metrics.protocol == "lvis" else ""
        where = f"IoU={row.iou:<9} | area={row.area:>6} | maxDets={row.detections:>3} {classes}"
        lines.append(f" {title} @[ {where}] = {metrics.stats[row.name]:0.3f}")
    return "\n".join(lines)


def proposal_table(stats: dict[str, float]) -> str:
    """Returns the recall of proposals as text, in COCO's own wording."""
    sizes = {"AR@": "all", "ARs@": "small", "ARm@": "medium", "ARl@": "large"}
    lines = ["Evaluate annotation type *proposal*"]
    for name, value in stats.items():
        kind, limit = name.split("@")
        where = f"IoU=0.50:0.95 | area={sizes[kind + '@']:>6} | maxDets={limit:>4}"
        lines.append(f" Average Recall     (AR) @[ {where} ] = {value:0.3f}")
    return "\n".join(lines)


def class_table(metrics: Mapping[str, Metrics], names: Sequence[str]) -> str:
    """Returns AP and AP50 of each class, a line each in the order of ``names``, '-' where there was no object."""
    width = max([len("class"), *map(len, names)])
    kinds = list(metrics)
    header = f"{'class':<{width}} {'objects':>8}"
    header += "".join(f" {f'{kind} AP':>9} {f'{kind} AP50':>11}" for kind in kinds)
    lines = ["Per class:", header]
    for position, name in enumerate(names):
        rows = [metrics[kind].per_class[position] for kind in kinds]
        line = f"{name:<{width}} {rows[0].objects:>8}"
        line += "".join(f" {_shown(row.ap):>9} {_shown(row.ap50):>11}" for row in rows)
        lines.append(line)
    return "\n".join(lines)


def _shown(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"


def skipped_report(skipped: Sequence[Skipped]) -> str:
    """Returns how many images could not be used, and the first of them with the reason; empty if there are none."""
    if not skipped:
        return ""
    lines = [f"{len(skipped)} image{'s' if len(skipped) > 1 else ''} left out:"]
    lines += [f"  {item.path}: {item.reason}" for item in skipped[:MOST_SKIPPED_SHOWN]]
    if len(skipped) > MOST_SKIPPED_SHOWN:
        lines.append(f"  and {len(skipped) - MOST_SKIPPED_SHOWN} more")
    return "\n".join(lines)


def speed_report(speed: Speed) -> str:
    """Returns the seconds an image of the network and of the post-processing, which runs beside it."""
    measured = speed.to_dict()
    network = measured["network_seconds_per_image"]
    post = measured["postprocess_seconds_per_image"]
    parts = [
        f"network {_seconds(network)}",
        f"post-processing {_seconds(post)} (on other threads)",
        f"first batches with compilation {speed.first_seconds:.1f} s",
        f"{speed.postprocess_images} images in {speed.wall_seconds:.1f} s",
    ]
    return "Speed: " + ", ".join(parts)


def _seconds(value: float | None) -> str:
    return "not measured (too few images)" if value is None else f"{1000 * value:.1f} ms/image"
