import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dim_lightning.data import Digits
from dim_lightning.data.shards import convert
from dim_lightning.data.splits import Shares

SHARES = Shares(0.1, 0.2, 0)
BYTES = 100 * 3 * 8 * 8  # a hundred digits a file


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder of the digits at 8x8 in shards: 13 to train, 2 to validate, 4 to test."""
    folder = tmp_path_factory.mktemp("shards") / "digits"
    convert(Digits().find(folder), 8, SHARES, folder, BYTES)
    return folder


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):  # the library's name
        self.server.asked.append(self.path.rpartition("/")[2])
        if self.server.failures:
            self.send_error(self.server.failures.pop())
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(digits, monkeypatch):
    """A server of that folder: its `url`, the files `asked` for, the `failures` to answer with."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(digits)))
    server.asked, server.failures = [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()
