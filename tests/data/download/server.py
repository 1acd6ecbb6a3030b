"""A web server on this machine with the habits of large ones, good and bad."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    """A request: its path, and where it asked to begin (None without a range)."""

    path: str
    start: int | None


class Server:
    """Serves ``files`` by path.

    Attributes:
        requests: what was asked for.
        cut_after: bytes after which each of the next answers breaks off; used up one by one.
        ranges: whether parts of files are given.
        statuses: codes that the next requests are answered with; used up one by one.
        wait: seconds before every 64 KiB.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[Request] = []
        self.cut_after: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.wait = 0.0
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else None
        self.requests.append(Request(handler.path, start))
        data = self.files.get(handler.path.lstrip("/"))
        if self.statuses or data is None:
            handler.send_error(self.statuses.pop(0) if self.statuses else 404)
            return
        if start is not None and self.ranges:
            if start >= len(data):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start:]
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        cut = self.cut_after.pop(0) if self.cut_after else len(data)
        for position in range(0, min(cut, len(data)), 1 << 16):
            if self.wait and self._stop.wait(self.wait):
                return
            try:
                handler.wfile.write(data[position : min(position + (1 << 16), cut)])
            except OSError:
                return
