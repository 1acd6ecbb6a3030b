"""The web application: GET / (a page), GET /health, POST /predict (an image in, COCO JSON out)."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from maskrcnn.errors import DataError
from maskrcnn.inference.result import Result

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SCRIPTS = ("dom.js", "masks.js")  # those of the report that the page uses too


@dataclass(frozen=True)
class ServingLimits:
    """What one process takes on: requests that wait or run, bytes of an image file, seconds until an answer."""

    queue: int
    body: int
    seconds: float


class ModelQueue:
    """Runs a model for one image at a time, in the order in which they came, and refuses what would wait too long."""

    def __init__(self, model: Callable[[bytes], Result], limits: ServingLimits) -> None:
        self._model = model
        self._limits = limits
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.length = 0  # changed in the event loop's thread only

    async def run(self, image: bytes) -> Result:
        """Returns the objects of an image file.

        Raises:
            DataError: It is no image.
            HTTPException: 503 if too many requests wait, 504 if it takes too long.
        """
        if self.length >= self._limits.queue:
            raise HTTPException(503, f"{self.length} images are waiting: try again later", {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        work = self._pool.submit(self._model, image)
        self.length += 1
        work.add_done_callback(lambda done: self._release(loop))  # not before the model is free again
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(work)), self._limits.seconds)
        except asyncio.TimeoutError:
            work.add_done_callback(_forget)
            work.cancel()
            raise HTTPException(504, f"no answer within {self._limits.seconds:g} s") from None

    def close(self) -> None:
        """Waits for the image that the model is working on."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        def count() -> None:
            self.length -= 1

        with contextlib.suppress(RuntimeError):  # the loop has ended with the server
            loop.call_soon_threadsafe(count)


def _forget(work: Future) -> None:
    """Takes note of an error that nobody waits for any more."""
    if not work.cancelled():
        work.exception()


def make_app(
    model: Callable[[bytes], Result], name: str, limits: ServingLimits, token: str = "", loopback: bool = True
) -> Starlette:
    """Returns the application.

    Args:
        model: Finds the objects in the bytes of an image file, or raises DataError.
        name: What /health and the page call it.
        limits: What is refused.
        token: What ``Authorization: Bearer`` must say for /predict; "" asks for nothing.
        loopback: Whether only requests to this machine's own names are answered, so that no web page elsewhere can
            reach the server by a name of its own.
    """
    queue = ModelQueue(model, limits)

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(page_text())

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "model": name, "waiting": queue.length, "queue": limits.queue})

    async def predict(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        image = await _body(request, limits)
        try:
            return JSONResponse(coco_json(await queue.run(image)))
        except DataError as error:
            raise HTTPException(400, f"the body is no image that can be read: {error}") from None

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(queue.close)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/health", health),
            Route("/predict", predict, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])]
        if loopback
        else [],
        exception_handlers={HTTPException: refuse},
        lifespan=lifespan,
    )


def coco_json(result: Result) -> dict:
    """Returns the objects of an image as COCO's dictionaries, each with the name of its class."""
    height, width = result.size
    records = [{**record, "name": name} for record, name in zip(result.to_coco(), result.names)]
    categories = {record["category_id"]: record["name"] for record in records}
    return {
        "images": [{"id": 1, "height": height, "width": width}],
        "categories": [{"id": own, "name": name} for own, name in categories.items()],
        "annotations": records,
    }


def page_text() -> str:
    """Returns the page, with its script inside."""
    assets = files("maskrcnn.report") / "assets"
    scripts = [(assets / script).read_text(encoding="utf-8") for script in _SCRIPTS]
    own = files("maskrcnn.serving")
    scripts.append((own / "page.js").read_text(encoding="utf-8"))
    text = (own / "page.html").read_text(encoding="utf-8")
    return text.replace("<!--scripts-->", '"use strict";\n{\n' + "".join(scripts) + "}\n")


async def _body(request: Request, limits: ServingLimits) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: 400 if it is empty or its client is gone, 408 if it comes too slowly, 413 if it is too large.
    """
    parts, total = [], 0
    too_large = HTTPException(413, f"the image file is larger than {limits.body / 2**20:g} MB")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limits.body:
        raise too_large

    async def read() -> None:
        nonlocal total
        async for part in request.stream():
            total += len(part)
            if total > limits.body:
                raise too_large
            parts.append(part)

    try:
        await asyncio.wait_for(read(), limits.seconds)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the image did not arrive within {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the image had arrived") from None
    if not total:
        raise HTTPException(400, "the body is empty: send the bytes of an image file")
    return b"".join(parts)
