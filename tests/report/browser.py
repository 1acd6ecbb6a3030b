"""A headless Chromium, driven through its DevTools protocol over two pipes: nothing to install beside the browser."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--metrics-recording-only", "--mute-audio",
)  # fmt: skip
PATIENCE = 60  # seconds


def find_browser() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page of a browser process of its own."""

    def __init__(self, executable: str) -> None:
        self.profile = tempfile.mkdtemp(prefix="browser")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        wrapped = ["bash", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', executable, *FLAGS]
        self.process = subprocess.Popen(
            [*wrapped, f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._answers: Queue[dict[str, Any]] = Queue()
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._session = None
        threading.Thread(target=self._read, daemon=True).start()
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends one command and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._answers.get(timeout=max(0.1, end - time.monotonic()))
            except Empty:
                raise TimeoutError(f"the browser did not answer {method} within {PATIENCE} s") from None
            if answer["id"] == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, address: str) -> float:
        """Goes to an address and returns the seconds until the page has loaded and could be drawn."""
        self.events.clear()
        began = time.monotonic()
        self.command("Page.navigate", url=address)
        self.wait_for(
            lambda: any(event["method"] == "Page.loadEventFired" for event in self.events), "the page to load"
        )
        self.run("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
        return time.monotonic() - began

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_until(self, script: str) -> None:
        """Waits for an expression in the page to become true."""
        self.wait_for(lambda: self.run(script), script)

    def wait_for(self, condition: Any, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
            time.sleep(0.02)

    def press(self, key: str, code: int = 0) -> None:
        """Presses a key, named as in JavaScript; ``code`` is its number where the browser acts by that."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def look(self, width: int, height: int, dark: bool = False, ratio: float = 1.0) -> None:
        """Sets the size of the window and the colours that the system prefers."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path | None = None) -> bytes:
        """What the window shows, as PNG."""
        data = base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    @property
    def requests(self) -> list[str]:
        """Addresses that the page has asked for, other than those that hold their data themselves."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    @property
    def complaints(self) -> list[str]:
        """Exceptions, and errors and warnings on the console."""
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append(str([argument.get("value") for argument in parameters["args"]]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError, AssertionError):
            self._session = None
            self.command("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError), open(self._in, "rb", buffering=0) as pipe:
            while data := pipe.read(2**16):
                *messages, rest = (rest + data).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers.put(message)
                    else:
                        self.events.append(message)
