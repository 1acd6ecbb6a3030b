"""The page in a headless Chromium: what it shows, how it answers, that it complains of nothing and asks for nothing."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.report.browser import Browser, find_browser
from tests.report.samples import HOSTILE, Sample, make_sample

from maskrcnn.commands import report

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs Chromium: apt-get install chromium")

CARDS = "document.querySelectorAll('.cards li').length"
SHOWN = "document.getElementById('shown').textContent"
# A picture's pixels as the page has drawn them, as a number that changes with what is drawn.
DRAWN = """(() => {
    const canvas = document.querySelector('.cards canvas');
    if (!canvas || !canvas.width) return 0;
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.reduce((sum, value, n) => (sum + value * (n % 8191)) % 1000000007, 0);
})()"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def address(sample, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("out") / "report.html"
    paths = [str(path) for path in sample.results.values()]
    log = out.parent / "log"
    log.mkdir()
    records = [
        {"epoch": 1, "global_step": n, "total_loss": 1 / n, "lr": 0.1, "images_per_second": 3} for n in (1, 2, 3)
    ]
    (log / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    images = ["--image_dir", str(sample.image_dir), "--log_dir", str(log), "--title", HOSTILE]
    report.main([*paths, "--ann_file", str(sample.ann_file), str(out), *images])
    return out.as_uri()


@pytest.fixture(scope="module")
def browser():
    browser = Browser(find_browser())
    yield browser
    browser.close()


@pytest.fixture
def page(browser, address):
    browser.look(1280, 900)
    browser.open(address)
    browser.run("document.documentElement.style.scrollBehavior = 'auto'")
    yield browser
    own = "willReadFrequently"  # of the pixels that a test reads itself
    assert [text for text in browser.complaints if own not in text] == []
    assert all(url.startswith("file:") for url in browser.requests), browser.requests


def set_score(page: Browser, step: int) -> None:
    page.run(f"(() => {{ const s = document.getElementById('score'); s.value = {step};"
             " s.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip


def scrolled_to(name: str) -> str:
    """Scrolls to a section and waits until it is drawn: what is passed within a frame is not seen by an observer."""
    frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    return f"(document.getElementById('{name}').scrollIntoView(), {frames})"


def count(page: Browser, outcome: str) -> int:
    return int(page.run(f"document.querySelector('[data-count={outcome}]').textContent"))


def test_every_chart_and_section_is_drawn(page) -> None:
    sections = page.run("[...document.querySelectorAll('main section')].map((node) => node.id)")
    assert sections == [
        "overview", "classes", "curves", "parts", "calibration", "errors", "confusion", "training", "gallery",
    ]  # fmt: skip
    for name in sections:
        page.run(scrolled_to(name))
    drawn = "[...document.querySelectorAll('.chart canvas')].every((c) => c.width > 0 && c.getAttribute('aria-label'))"
    page.wait_until(drawn)
    page.run("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    page.wait_until("[...document.querySelectorAll('details')].every((node) => node.querySelector('tbody tr'))")
    assert page.requests == [page.run("location.href")]


def test_slider_and_filters_change_what_is_shown(page) -> None:
    set_score(page, 50)
    page.run("document.getElementById('gallery').scrollIntoView()")
    page.wait_until(DRAWN)
    assert page.run(SHOWN) == "12 images"
    assert [count(page, name) for name in ("correct", "localisation", "classification", "missed")] == [12, 4, 4, 4]
    with_all = page.run(DRAWN)
    set_score(page, 65)  # the wrong classes, at 0.6, are gone, and their objects are missed
    assert [count(page, name) for name in ("correct", "localisation", "classification", "missed")] == [12, 4, 0, 8]
    set_score(page, 95)
    assert count(page, "missed") == 24 and count(page, "correct") == 0
    page.wait_until(f"{DRAWN} !== {with_all}")
    assert page.run("document.querySelector('output').textContent") == "0.95"
    set_score(page, 50)
    page.run("document.querySelector('.chip.localisation input').click()")
    assert page.run(CARDS) == 4 and page.run(SHOWN) == "4 images with 4 such objects and detections"
    page.run("document.querySelector('.chip.missed input').click()")
    assert page.run(CARDS) == 8
    page.run("[...document.querySelectorAll('#filters button')].pop().click()")  # Reset
    assert page.run(CARDS) == 12
    page.run("document.querySelector('input[name=kind][value=bbox]').click()")
    assert page.run("document.querySelector('input[name=kind]:checked').value") == "bbox" and page.run(CARDS) == 12


def test_a_cell_of_the_confusion_matrix_shows_its_objects(page) -> None:
    set_score(page, 50)
    cells = page.run("[...document.querySelectorAll('.matrix button')].map((b) => [b.dataset.row, b.dataset.column, "
                     "b.textContent])")  # fmt: skip
    assert sorted(cells) == [
        ["-1", "1", "4"], ["0", "0", "12"], ["1", "-1", "8"], ["1", "0", "4"],
    ]  # fmt: skip
    page.run('document.querySelector(\'.matrix [data-row="1"][data-column="0"]\').click()')
    assert page.run(CARDS) == 4
    assert page.run("document.querySelector('.chosen').textContent") == f"{HOSTILE} → cat ✕, show all again"
    page.run("document.querySelector('.chosen').click()")
    assert page.run(CARDS) == 12
    page.run("document.querySelector('.matrix [data-column=\"-1\"]').click()")
    assert page.run(CARDS) == 8
    page.run("document.querySelector('.matrix button[tabindex=\"0\"]').focus()")
    page.press("ArrowDown", 40)
    assert page.run("[document.activeElement.dataset.row, document.activeElement.dataset.column]") == ["1", "0"]


def test_viewer_by_keyboard(page, sample) -> None:
    set_score(page, 50)
    page.run("document.querySelector('.cards button').focus()")
    page.press("Enter", 13)
    page.wait_until("document.getElementById('viewer').open")
    first = page.run("document.getElementById('viewer-name').textContent")
    page.wait_until("document.querySelector('#viewer [role=status]').textContent === 'full resolution'")
    page.press("ArrowRight", 39)
    assert page.run("document.getElementById('viewer-name').textContent") != first
    page.press("ArrowLeft", 37)
    assert page.run("document.getElementById('viewer-name').textContent") == first
    page.press("t", 84)
    sides = "[...document.querySelectorAll('.stage figure')].map((node) => node.dataset.side)"
    assert page.run(sides) == ["truth"]
    page.press("t", 84)
    assert page.run(sides) == ["prediction"]
    page.press("s", 83)
    assert page.run(sides) == ["truth", "prediction"]
    page.press("+", 187)
    page.press("0", 48)
    page.press("Escape", 27)
    page.wait_until("!document.getElementById('viewer').open")
    assert page.run("document.activeElement.matches('.cards button')")  # focus goes back to where it was
    opened = [url for url in page.requests if "photo" in url]
    assert opened and all(url.startswith(sample.image_dir.as_uri()) for url in opened)


def test_strings_of_users_are_text(page) -> None:
    assert page.run("document.title") == HOSTILE == page.run("document.querySelector('h1').textContent")
    names = page.run("[...document.querySelectorAll('#classes tbody th')].map((node) => node.textContent)")
    assert HOSTILE in names
    assert page.run("document.querySelectorAll('main script').length") == 0
    assert "photo 000 <b>.png" in page.run("[...document.querySelectorAll('.name')].map((node) => node.textContent)")


@pytest.mark.parametrize("width, dark", [(1280, False), (1280, True), (390, False), (390, True)])
def test_nothing_is_wider_than_the_window_and_colours_follow(page, width: int, dark: bool) -> None:
    page.look(width, 844, dark)
    for name in page.run("[...document.querySelectorAll('main section')].map((node) => node.id)"):
        page.run(scrolled_to(name))
        assert page.run("document.documentElement.scrollWidth") <= width, name
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark
    page.run("document.getElementById('theme').click()")
    assert page.run("getComputedStyle(document.body).backgroundColor") != background


def test_masks_are_decoded_as_pycocotools_does(browser) -> None:
    script = (files("maskrcnn.report") / "assets" / "masks.js").read_text()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:97, :131]
    masks = [
        np.hypot(y - 40, x - 60) < 25,
        np.hypot(y - 0, x - 130) < 70,
        rng.random((97, 131)) < 0.5,
        np.ones((97, 131), bool),
    ]
    browser.open("about:blank")
    for mask in masks:
        counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        found = browser.run(
            f"(() => {{ {script}; const m = decodeMask({json.dumps(counts)}, 97);"
            " return [m.x, m.y, m.width, m.height, [...m.filled]]; })()"
        )
        left, top, width, height, filled = found
        whole = np.zeros_like(mask)
        whole[top : top + height, left : left + width] = np.array(filled, bool).reshape(width, height).T
        np.testing.assert_array_equal(whole, mask)
    empty = coco_mask.encode(np.zeros((97, 131), np.uint8, order="F"))["counts"].decode()
    assert browser.run(f"(() => {{ {script}; return decodeMask({json.dumps(empty)}, 97); }})()") is None
