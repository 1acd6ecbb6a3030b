"""The C++ unit tests, under sanitizers, with vectors made by Python; the engines against vendors' real headers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.ascend310_infer.conftest import SOURCE
from tests.ascend310_infer.vectors import write_vectors

from maskrcnn.config import Config


def test_unit_tests_pass_under_sanitizers(checked_build: Path, tmp_path: Path) -> None:
    write_vectors(tmp_path)
    result = subprocess.run(
        [checked_build / "tests" / "maskrcnn_tests"],
        env={**os.environ, "MASKRCNN_VECTORS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert "SKIPPED" not in result.stdout
    assert int(re.search(r"PASSED +\] (\d+) tests", result.stdout).group(1)) > 50


def test_aipp_settings_are_the_default_normalisation() -> None:
    text = (SOURCE / "aipp.cfg").read_text()
    found = {key: float(value) for key, value in re.findall(r"^ *(\w+): ([\d.]+)$", text, re.MULTILINE)}
    cfg = Config()
    assert (found["src_image_size_h"], found["src_image_size_w"]) == (cfg.img_height, cfg.img_width)
    for channel, (mean, std) in enumerate(zip(cfg.pixel_mean, cfg.pixel_std)):
        assert found[f"mean_chn_{channel}"] + found[f"min_chn_{channel}"] == pytest.approx(mean, abs=1e-6)
        assert found[f"var_reci_chn_{channel}"] == pytest.approx(1 / std, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "package", "headers", "includes"),
    [
        ("acl", "torch_npu==2.14.0", "torch_npu/include/acl/", ["torch_npu/include"]),
        ("lite", "mindspore==2.7.1", "mindspore/include/", ["mindspore", "mindspore/include"]),  # a wheel of 750 MB
    ],
)
def test_engines_compile_with_the_vendors_headers(
    engine: str, package: str, headers: str, includes: list[str], checked_build: Path, tmp_path: Path
) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package, "--dest", str(tmp_path)]
    got = subprocess.run(download, capture_output=True, text=True)
    if got.returncode != 0:
        pytest.skip(f"pip cannot fetch {package}: {got.stderr.strip().splitlines()[-1]}")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path, [name for name in wheel.namelist() if name.startswith(headers)])
    cache = (checked_build / "CMakeCache.txt").read_text()
    opencv = re.search(r"^OPENCV_INCLUDE_DIR:PATH=(.*)$", cache, re.MULTILINE).group(1)
    command = ["g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]
    command += [f"-I{SOURCE / 'src'}", "-isystem", opencv]
    for folder in includes:
        command += ["-isystem", str(tmp_path / folder)]
    result = subprocess.run([*command, str(SOURCE / "src/engines" / f"{engine}.cpp")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:4000]
