"""The server on loopback: answers, refusals, many clients at once, and its end. The model is made up and slow."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

from maskrcnn.commands import serve  # noqa: E402
from maskrcnn.errors import ConfigError, DataError  # noqa: E402
from maskrcnn.inference.images import ImageSource  # noqa: E402
from maskrcnn.inference.result import Result  # noqa: E402
from maskrcnn.serving.app import ServingLimits, make_app  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LIMITS = ServingLimits(queue=16, body=2**20, seconds=5)


def picture(number: int) -> bytes:
    """An image file whose pixels tell its number, of a size of its own."""
    pixels = np.full((20 + number % 7, 30 + number % 5, 3), number, np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


class FakeModel:
    """Reports the colour of an image as its score, after a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.at_work = 0
        self.most_at_work = 0

    def __call__(self, data: bytes) -> Result:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        time.sleep(self.seconds)
        self.at_work -= 1
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError("the bytes are no image")
        height, width = image.shape[:2]
        rle = {"size": [height, width], "counts": "0" * 3}
        box, score = np.float32([[1, 2, 11, 22]]), np.float32([image[0, 0, 0] / 256])
        return Result(ImageSource(0, Path("x")), (height, width), box, score, np.int32([1]), ["cat"], [rle], [17])


class Running:
    """A server in a thread of its own."""

    def __init__(self, model: FakeModel, limits: ServingLimits = LIMITS, **options) -> None:
        self.model = model
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        app = make_app(model, "fake", limits, **options)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    def __enter__(self) -> Running:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *exception) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = "json" in answer.getheader("content-type", "")
        return answer.status, json.loads(content) if is_json else content.decode()


def test_an_image_in_coco_json_out() -> None:
    with Running(FakeModel()) as server:
        status, found = server.ask("POST", "/predict", picture(64))
        assert status == 200
        assert found["images"] == [{"id": 1, "height": 21, "width": 34}]
        assert found["categories"] == [{"id": 17, "name": "cat"}]
        (record,) = found["annotations"]
        assert record["bbox"] == [1, 2, 10, 20] and record["score"] == 0.25 and record["category_id"] == 17
        status, health = server.ask("GET", "/health")
        assert status == 200 and health == {"status": "ok", "model": "fake", "waiting": 0, "queue": 16}
        status, page = server.ask("GET", "/")
        assert status == 200 and "function decodeRuns" in page and "<!--scripts-->" not in page


@pytest.mark.parametrize("clients", [1, 4, 16])
def test_nothing_is_lost_or_mixed_up(clients: int) -> None:
    """Every client sends its own images and gets the answers to them; the model sees one at a time."""
    model = FakeModel(0.002)
    with Running(model) as server, ThreadPoolExecutor(clients) as pool:

        def client(first: int) -> list[bool]:
            right = []
            for number in range(first, 192, clients):
                status, found = server.ask("POST", "/predict", picture(number))
                size = [found["images"][0][side] for side in ("height", "width")] if status == 200 else None
                right.append(
                    size == [20 + number % 7, 30 + number % 5] and found["annotations"][0]["score"] == number / 256
                )
            return right

        answers = [right for of_client in pool.map(client, range(clients)) for right in of_client]
    assert answers == [True] * 192 and model.most_at_work == 1


def test_refusals() -> None:
    with Running(FakeModel()) as server:
        for body, status, message in (
            (b"no image", 400, "the body is no image that can be read: the bytes are no image"),
            (b"", 400, "the body is empty: send the bytes of an image file"),
            (b"x" * (2**20 + 1), 413, "the image file is larger than 1 MB"),
        ):
            assert server.ask("POST", "/predict", body) == (status, {"error": message})
        # Without a length, the body is counted as it comes.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/predict", iter([b"x" * 2**19] * 4), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().status == 413
        connection.close()
        assert server.ask("GET", "/predict")[0] == 405
        assert server.ask("GET", "/other")[0] == 404
        assert server.ask("GET", "/health", Host="evil.example")[0] == 400  # a name of somebody else's
        assert server.ask("POST", "/predict", picture(3))[0] == 200  # and it still works


def test_token() -> None:
    with Running(FakeModel(), token="secret", loopback=False) as server:
        assert server.ask("POST", "/predict", picture(3))[0] == 401
        assert server.ask("POST", "/predict", picture(3), Authorization="Bearer wrong")[0] == 401
        assert server.ask("POST", "/predict", picture(3), Authorization="Bearer secret")[0] == 200


def test_a_full_queue_refuses_and_a_slow_model_is_given_up() -> None:
    limits = ServingLimits(queue=2, body=2**20, seconds=0.4)
    with Running(FakeModel(1.0), limits) as server, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.ask, "POST", "/predict", picture(n)) for n in range(4)]
        answers = [future.result() for future in asked]
        assert sorted(status for status, _ in answers) == [503, 503, 504, 504]
        assert {found["error"] for status, found in answers if status == 504} == {"no answer within 0.4 s"}
        deadline = time.monotonic() + 10
        while server.ask("GET", "/health")[1]["waiting"]:  # what was given up leaves the queue
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_sigterm_lets_a_request_finish_and_exits_with_zero(tmp_path) -> None:
    program = f"""
import sys
sys.path[:0] = [{str(ROOT / "src")!r}, {str(ROOT)!r}]
from maskrcnn import api
from maskrcnn.commands import serve
from tests.serving.test_app import FakeModel
api.load = lambda path, **settings: FakeModel(0.7)
serve.main(["--checkpoint_path", "fake.ckpt", "--port", "0"])
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("Serving fake.ckpt: http://127.0.0.1:")
    port = int(line.split(":")[3].split("/")[0])
    with ThreadPoolExecutor(1) as pool:

        def ask() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/predict", picture(5))
            return connection.getresponse().status

        asked = pool.submit(ask)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert asked.result() == 200
    assert process.wait(20) == 0 and process.stdout.read() == "Stopped\n"


def test_a_port_that_is_taken(monkeypatch) -> None:
    monkeypatch.setattr("maskrcnn.api.load", lambda path, **settings: FakeModel())
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="cannot listen on 127"),
    ):
        serve.main(["--checkpoint_path", "fake.ckpt", "--port", str(taken.getsockname()[1])])


def test_without_the_extra_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"maskrcnn serve needs uvicorn: pip install 'maskrcnn-mindspore\[serve\]'"):
        serve.main(["--checkpoint_path", "fake.ckpt"])
