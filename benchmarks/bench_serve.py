"""What a server holds: requests a second and waiting times of 1, 4 and 16 clients, and whether all answers are right.

    maskrcnn serve --checkpoint_path CKPT --queue 32 &
    python benchmarks/bench_serve.py http://127.0.0.1:8000 FOLDER_OF_IMAGES [REQUESTS]

Every image is asked for once alone; what the clients are answered later must be the same.
"""

from __future__ import annotations

import http.client
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np


def ask(host: str, image: bytes) -> tuple[float, int, bytes]:
    """Seconds, status and content of one answer."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=120)
    connection.request("POST", "/predict", image)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return time.perf_counter() - began, answer.status, content


def main() -> None:
    host = urlsplit(sys.argv[1]).netloc
    requests = int(sys.argv[3]) if len(sys.argv) > 3 else 64
    images = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir()) if path.is_file()][:16]
    expected = [ask(host, image)[2] for image in images]
    for clients in (1, 4, 16):
        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(lambda n: ask(host, images[n % len(images)]), range(requests)))
        wall = time.perf_counter() - began
        right = sum(content == expected[n % len(images)] for n, (_, _, content) in enumerate(answers))
        seconds = np.array([took for took, _, _ in answers])
        print(
            f"{clients:2d} clients: {requests / wall:.1f} images/s, median {np.median(seconds):.3f} s, "
            f"longest {seconds.max():.3f} s, {right} of {requests} answers as alone"
        )


if __name__ == "__main__":
    main()
