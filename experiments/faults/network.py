"""The network goes away while a run logs to Weights & Biases: the run ends well, and in time.

    python experiments/faults/network.py

Needs wandb. A server that answers as theirs does, on this machine, is shut down after an epoch.
"""

import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
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
SECONDS = 20


class Server(BaseHTTPRequestHandler):
    """Answers as far as a run needs it."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """The question whether anybody is there."""
        self._answer({})

    def do_POST(self) -> None:
        """Everything else."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.path)
        if self.path.endswith("graphql"):
            query = body.decode(errors="replace")
            found = [answer for name, answer in ANSWERS.items() if name in query]
            self._answer({"data": found[0] if found else {}})
        else:
            self._answer({"exitcode": None, "limits": {}})

    def _answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if find_spec("wandb") is None:
    scene.skip("wandb is not installed")
server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
with scene.folder() as place:
    (place / "wandb.yaml").write_text(LOGGER)
    words = ["--config", str(place / "wandb.yaml"), "--trainer.max_epochs", "4"]
    login = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online"}
    process = subprocess.Popen(
        scene.command(place, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=scene.environment(**login, WANDB_FINISH_TIMEOUT=str(SECONDS)),
    )
    said = []
    begin = 0.0
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if line.startswith("epoch 2/"):
            server.shutdown()
            server.server_close()
        if line.startswith("epoch 4/"):
            begin = time.monotonic()
    code = process.wait(timeout=1200)
    text = "".join(said)
    print(f"{len(Server.asked)} requests were answered before the network went away")
    streamed = any("file_stream" in path for path in Server.asked)
    if "records offline" in text or not streamed:
        sys.exit(f"FAILED: it never was online; it said:\n{text}\n{Server.asked}")
    scene.judge("the network is gone in mid-run", code, 0, text)
    print(f"it ended {time.monotonic() - begin:.0f} s after its last epoch")
    kept = list((place / "runs").glob("*/*/wandb/*/run-*.wandb"))
    assert kept, "nothing is left to send later"
    print(f"{kept[0].stat().st_size} bytes are kept for `wandb sync`")
