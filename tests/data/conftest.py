import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw():
    """Writes a picture of random pixels, or of one colour."""

    def write(path, size=(8, 8), colour=None, seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        if colour is not None:
            pixels[:] = colour
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def class_folders(tmp_path, draw):
    """Three classes of ten pictures each: <tmp>/pictures/<class>/<i>.png."""
    folder = tmp_path / "pictures"
    for label, name in enumerate(("ant", "bee", "cow")):
        for i in range(10):
            draw(folder / name / f"{i}.png", colour=(80 * label, i, 0))
    return folder


class _Server:
    """Serves one file with byte ranges; may cut its first answers short.

    Attributes:
        content: the file.
        cut: how many bytes of the first answer to send, all if None.
        ranges: the Range header of each request.
        honour_ranges: whether ranges are answered as such.
    """

    def __init__(self):
        self.content = b""
        self.cut = None
        self.ranges = []
        self.honour_ranges = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # the library's name
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.zip"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, request):
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        start = start if self.honour_ranges else 0
        if start and start >= len(self.content):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        end, self.cut = self.cut, None
        request.wfile.write(self.content[start:end])

    def close(self):
        self.http.shutdown()
        self.thread.join(10)
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = _Server()
    yield running
    running.close()


@pytest.fixture
def tiny(tmp_path, draw):
    """Tiny ImageNet with three classes, in an order that is not the alphabet's."""
    folder = tmp_path / "tiny-imagenet-200"
    wnids = ["n03", "n01", "n02"]
    for number, wnid in enumerate(wnids):
        for i in range(4):
            draw(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", colour=80 * number)
    for i in range(6):
        draw(folder / "val" / "images" / f"val_{i}.JPEG", colour=80 * (i % 3))
    lines = [f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t0\t7\t7\n" for i in (5, 0, 4, 1, 2, 3)]
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    (folder / "words.txt").write_text(
        "n00\tentity\nn01\tcrane, a bird\nn02\tgoldfish, Carassius auratus\nn03\tcrane, a machine\n"
    )
    return folder
