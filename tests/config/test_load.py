"""Where values come from: files that build on each other, the environment, flags; and that all problems are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn.config import Config, load_config
from maskrcnn.config.parsing import hint
from maskrcnn.config.schema import key_types
from maskrcnn.errors import ConfigError


@pytest.fixture(autouse=True)
def no_device_variable(monkeypatch: pytest.MonkeyPatch):
    for name in ("DEVICE_ID", "MS_ROLE"):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(*argv: str, **settings) -> list[str]:
    """The lines with which the arguments are refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(argv, **settings)
    return list(caught.value.lines)


def test_files_stack_on_their_bases(tmp_path: Path):
    write(tmp_path / "bottom.yaml", "img_width: 512\nbatch_size: 4\nroi_layer: {out_size: 5}\n")
    write(tmp_path / "middle" / "m.yaml", "base: ../bottom.yaml\nbatch_size: 8\nseed: 7\nroi_layer: {sample_num: 0}\n")
    top = write(tmp_path / "top.yaml", "base: middle/m.yaml\nseed: 9\n")
    cfg = load_config(["--config_path", top])
    assert (cfg.img_width, cfg.batch_size, cfg.seed) == (512, 8, 9)
    assert cfg.roi_layer == {"out_size": 5, "mask_out_size": 14, "sample_num": 0}
    assert cfg.given["img_width"] == (512, str(tmp_path / "middle" / ".." / "bottom.yaml")) or (
        cfg.given["img_width"].where.endswith("bottom.yaml")
    )
    assert cfg.given["seed"] == (9, top)


def test_a_base_that_cannot_be_is_one_line(tmp_path: Path):
    missing = write(tmp_path / "a.yaml", "base: none.yaml\nseed: 2\n")
    (line,) = refused("--config_path", missing)
    assert f"{missing}: base names none.yaml, which does not exist" in line and str(tmp_path / "none.yaml") in line
    (line,) = refused("--config_path", write(tmp_path / "n.yaml", "base: 3\n"))
    assert "base is 3, expected the path of a YAML file" in line
    (line,) = refused("--config_path", write(tmp_path / "f.yaml", "base: .\n"))
    assert "base names ., which does not exist" in line


def test_a_circle_of_bases_is_one_line(tmp_path: Path):
    first = write(tmp_path / "a.yaml", "base: b.yaml\n")
    write(tmp_path / "b.yaml", "base: a.yaml\n")
    (line,) = refused("--config_path", first)
    assert "base leads in a circle" in line and line.count("a.yaml") >= 2 and "b.yaml" in line
    (line,) = refused("--config_path", write(tmp_path / "self.yaml", "base: self.yaml\n"))
    assert "leads in a circle" in line


def test_all_problems_are_reported_at_once(tmp_path: Path):
    base = write(tmp_path / "base.yaml", "img_width: 500.5\n")
    file = write(tmp_path / "my.yaml", f"base: {base}\nflip_ratio: 2\nnum_classes: 81\nbackbone: resnet51\n")
    argv = ["--config_path", file, "--sede", "1", "--batch_size", "x", "--log_dir", "--momentum", "1", "stray"]
    lines = refused(*argv)
    expected = [
        "--log_dir needs a value",
        "unexpected argument 'stray'",
        "base.yaml: img_width is 500.5",
        "my.yaml: num_classes (given as 81) is no longer a key",
        "my.yaml: flip_ratio is 2.0, expected",
        "my.yaml: backbone is 'resnet51', expected one of",
        "unknown key sede (given as '1'); did you mean seed?",
        "--batch_size is 'x', expected a whole number",
        "--momentum is 1.0, expected",
    ]
    assert len(lines) == len(expected)
    assert all(part in line for part, line in zip(expected, lines)), lines
    with pytest.raises(ConfigError, match=r"^9 problems:\n  --log_dir"):
        load_config(argv)


def test_all_impossible_combinations_are_reported_at_once():
    lines = refused("--img_width", "500", "--neg_iou_thr", "0.9", "--instance_set", "a.json")
    assert [line.split(" ")[0] for line in lines] == ["img_width", "neg_iou_thr", "instance_set"]


def test_what_is_given_is_known(tmp_path: Path):
    defaults = write(tmp_path / "default.yaml", "seed: 1\nimg_width: 512\ntest_score_thr: 0.05\n")
    file = write(tmp_path / "my.yaml", "test_score_thr: 0.05\nbatch_size: 2\n")
    cfg = load_config(["--config_path", file, "--batch_size", "3"], defaults=defaults)
    assert dict(cfg.given) == {
        "img_width": (512, defaults),  # another value than the class has
        "test_score_thr": (0.05, file),  # the same, but said
        "batch_size": (3, "--batch_size"),
    }
    assert cfg.replace(seed=4).given == cfg.given and not Config(seed=3).given
    assert cfg == Config(img_width=512, batch_size=3)


def test_the_card_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEVICE_ID", "3")
    assert load_config([]).device_id == 3
    assert load_config(["--device_id", "1"]).device_id == 1
    monkeypatch.setenv("DEVICE_ID", "gpu3")
    assert refused("--seed", "x") == [
        "DEVICE_ID in the environment is 'gpu3', not the number of a card",
        "--seed is 'x', expected a whole number",
    ]
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")  # there it counts the processes of this host
    assert load_config([]).device_id == 0


@pytest.mark.parametrize(
    ("word", "valid", "meant"),
    [
        ("mindir", ("MINDIR", "ONNX", "AIR"), "MINDIR"),
        ("Onnx", ("MINDIR", "ONNX", "AIR"), "ONNX"),
        ("gpu", ("auto", "Ascend", "GPU", "CPU"), "GPU"),
        ("IMAGE_DIR", None, "image_dir"),
        ("Batch_Size", None, "batch_size"),
        ("img_widht", None, "img_width"),
        ("config", ("config_path",), "config_path"),
        ("checkpoint", None, "checkpoint_path"),
        ("score_threshold", None, "test_score_thr"),
        ("learning", None, None),
        ("run_distribute", None, None),
        ("do_train", None, None),
        ("feature_shapes", None, None),
        ("x", None, None),
        ("tflite", ("MINDIR", "ONNX", "AIR"), None),
    ],
)
def test_hints_name_what_must_be_meant_or_nothing(word: str, valid: tuple[str, ...] | None, meant: str | None):
    assert hint(word, valid or key_types()) == (f"; did you mean {meant}?" if meant else "")
