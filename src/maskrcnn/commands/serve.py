"""What ``maskrcnn serve`` does, from the command line to a server that stops cleanly."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from maskrcnn.errors import ConfigError

MOST_PIXELS = 100_000_000  # of an image: a small file can be a very large picture


def main(argv: Sequence[str] | None = None) -> None:
    """Serves a model over HTTP until SIGTERM or Ctrl-C.

    Raises:
        MaskRCNNError: The model cannot be used, or what serving needs is not installed.
    """
    args = _parser().parse_args(argv)
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # before OpenCV is imported
    try:
        import uvicorn

        from maskrcnn.serving.app import LOOPBACK, ServingLimits, make_app
    except ImportError as error:
        raise ConfigError(
            f"maskrcnn serve needs {error.name}: pip install 'maskrcnn-mindspore[serve]', or starlette and uvicorn"
        ) from None
    from maskrcnn.api import load

    path = Path(args.checkpoint_path)
    model = load(path, device_target=args.device_target)
    loopback = args.host in LOOPBACK
    token = args.token or ("" if loopback else secrets.token_urlsafe(16))
    host = f"[{args.host}]" if ":" in args.host else args.host
    try:
        listener = socket.create_server(
            (args.host, args.port), family=socket.AF_INET6 if ":" in args.host else socket.AF_INET
        )
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {args.host}:{args.port}: {error.strerror or error}; choose another --port or --host"
        ) from None
    port = listener.getsockname()[1]
    address = f"http://{host}:{port}/" + (f"?token={token}" if token else "")
    if not loopback:
        print(f"warning: {args.host} can be reached by other machines, without encryption; requests need the token")
    limits = ServingLimits(args.queue, int(args.max_megabytes * 2**20), args.timeout)
    app = make_app(model, path.name, limits, token, loopback)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            timeout_keep_alive=5,
            timeout_graceful_shutdown=int(args.timeout) + 1,
        )
    )
    # uvicorn raises the signal that stopped it once more at its end: to stop when asked to is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    print(f"Serving {path.name}: {address} (Ctrl-C stops)", flush=True)
    server.run(sockets=[listener])
    print("Stopped", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maskrcnn serve", description="Try a model in a browser, or use it over HTTP."
    )
    parser.add_argument("--checkpoint_path", "--model", required=True, help="checkpoint or exported model")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="port (8000)")
    parser.add_argument(
        "--token", default="", help="what requests must bring; made up where other machines can reach the server"
    )
    parser.add_argument("--queue", type=int, default=16, help="images that may wait; more are refused with 503 (16)")
    parser.add_argument("--max_megabytes", type=float, default=20, help="largest image file (20)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds until a request is given up (60)")
    parser.add_argument("--device_target", default="auto", help="auto, CPU, GPU or Ascend (auto)")
    return parser
