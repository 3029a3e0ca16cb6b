"""The network, or wandb's own process, goes away while a run logs: it ends well, and in time.

    python experiments/faults/network.py

Needs wandb. A server that answers as theirs does, on this machine, is shut down after an epoch.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import scene

LOGGER = """
trainer:
  logger:
    class_path: dim_lightning.run.wandb_logger.WandbLogger
    init_args: {project: fault, entity: nobody, mode: online}
"""
BUCKET = {
    "id": "run",
    "name": "run",
    "displayName": "run",
    "description": "",
    "config": "{}",
    "summaryMetrics": "{}",
    "sweepName": None,
    "historyLineCount": 0,
    "project": {"id": "p", "name": "fault", "entity": {"id": "e", "name": "nobody"}},
}
ANSWERS = {
    "UpsertBucket": {"upsertBucket": {"bucket": BUCKET, "inserted": True, "run": BUCKET}},
    "Viewer": {"viewer": {"id": "v", "entity": "nobody", "username": "nobody", "flags": "{}"}},
}
SECONDS = 5


class Server(BaseHTTPRequestHandler):
    """Answers as far as a run needs it."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """The question whether anybody is there."""
        self._answer({})

    def do_PUT(self) -> None:
        """A file."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer({})

    def do_POST(self) -> None:
        """Everything else."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.path)
        if not self.path.endswith("graphql"):
            self._answer({"exitcode": None, "limits": {}})
            return
        query = body.decode(errors="replace")
        found = [answer for name, answer in ANSWERS.items() if name in query]
        if "CreateRunFiles" in query:
            names = json.loads(query)["variables"]["files"]
            address = f"http://{self.headers['Host']}/upload"
            files = [{"name": name, "uploadUrl": address} for name in names]
            content = {"runID": "run", "uploadHeaders": [], "files": files}
            found = [{"createRunFiles": content}]
        self._answer({"data": found[0] if found else {}})

    def _answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def kill_service(process: scene.Started) -> None:
    """Kills the process that wandb starts beside the training."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
            if parent == process.pid and b"wandb-core" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def try_it(fault: str, happen: Callable[[ThreadingHTTPServer, scene.Started], None]) -> None:
    """Trains for four epochs; `happen` is called after the second."""
    Server.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    login = {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_MODE": "online"}
    login |= {"WANDB_API_KEY": "0" * 40, "WANDB_FINISH_TIMEOUT": str(SECONDS)}

    def prepare() -> None:
        server.socket.close()  # the port is to be closed when the server is
        os.environ.update(login)

    with scene.folder() as place:
        (place / "wandb.yaml").write_text(LOGGER, "utf-8")
        words = ["--config", str(place / "wandb.yaml"), "--trainer.max_epochs", "4"]
        process = scene.Started(scene.fit(place, *words), prepare)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        last = time.monotonic()
        for line in process.lines():
            if line.startswith("epoch 2/"):
                happen(server, process)
            if line.startswith("epoch 4/"):
                last = time.monotonic()
        done = process.ended()
        text = done.stdout + done.stderr
        if "records offline" in text or not any("file_stream" in path for path in Server.asked):
            sys.exit(f"FAILED: it never was online; it said:\n{text}\n{Server.asked}")
        scene.judge(fault, done.returncode, 0, text)
        print(f"it ended {time.monotonic() - last:.0f} s after its last epoch")
        assert time.monotonic() - last < 60, "it waited longer than it was asked to"
        kept = list((place / "runs").glob("*/*/wandb/*/run-*.wandb"))
        assert kept, "nothing is left to send later"
        print(
            f"{kept[0].stat().st_size:,} bytes are kept for `wandb sync --include-online`",
            flush=True,
        )


def go_away(server: ThreadingHTTPServer, _: scene.Started) -> None:
    """Ends the server."""
    server.shutdown()
    server.server_close()


if find_spec("wandb") is None or not Path("/proc").is_dir():
    scene.skip("needs wandb, and Linux")
try_it("the network goes away", go_away)
try_it("wandb's own process is killed", lambda _, process: kill_service(process))
