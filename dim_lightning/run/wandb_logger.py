"""Weights & Biases, which never stops a run: without network or login it records offline."""

import json
import netrc
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from dim_lightning.errors import InputError
from dim_lightning.extras import installation
from dim_lightning.run.folder import read_json
from dim_lightning.run.settings import run_name
from dim_lightning.writing import write_atomically

_STATE = "wandb.json"
_SECONDS_TO_ANSWER = 5
_SECONDS_TO_SEND = 300
_PLACE = ("entity", "project")  # of a run, which it does not leave
_EDITED = ("name", "group", "tags", "notes")  # of a run, there
_UNSENT = ("offline", "dryrun", "disabled")  # dryrun is an older name of offline


class NotSent(NamedTuple):
    """Why nothing reaches the server.

    Attributes:
        mode: "offline", "dryrun", or "disabled", which keeps nothing on the disk either.
        reason: what says so, or what is missing.
        remedy: what to do for runs to be sent.
    """

    mode: str
    reason: str
    remedy: str


class WandbLogger(LightningWandbLogger):
    """Logs a run to Weights & Biases, in its run folder, under an id that a resumed run keeps.

    For runs of the command line, which knows folder and settings; a script takes Lightning's own.
    What goes on with a run leaves its name, group, tags and notes there as they are by then, unless
    variables such as WANDB_NAME give others, and the run in its project.

    Args:
        project: the project there; what WANDB_PROJECT says, or dim_lightning, if None.
        entity: the user or team; the login's own if None.
        name: the run's name; what WANDB_NAME says, or <experiment>/<n>, if None.
        group: a name that several runs share.
        tags: labels of the run.
        notes: what the run is about.
        mode: "online", "offline" or "disabled"; if None what WANDB_MODE says, then what
            `wandb offline` or `wandb disabled` said, then online when a server answers and a key
            is known, offline otherwise. Where nothing is sent, that is said in one line.

    Raises:
        InputError: wandb is not installed.
    """

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        mode: str | None = None,
    ) -> None:
        project = project or os.environ.get("WANDB_PROJECT") or "dim_lightning"
        try:
            super().__init__(
                project=project, entity=entity, name=name, group=group, tags=tags, notes=notes
            )
        except ModuleNotFoundError as error:
            raise InputError(
                "trainer.logger asks for Weights & Biases, but wandb is not installed; "
                f"run: {installation('wandb')}, or leave the logger out"
            ) from error
        self._mode = mode
        self._is_lost = False

    @rank_zero_only
    def place_in(self, run_dir: Path, config: dict[str, Any]) -> None:
        """Starts in a run folder, or goes on with the run that folder began.

        Args:
            run_dir: the run's folder; W&B's files go to wandb/ in it.
            config: every setting, nested, for the run's page.

        Raises:
            InputError: what the run's folder has kept of W&B's run is damaged.
        """
        mode = self._mode or os.environ.get("WANDB_MODE") or self._own_mode()
        import wandb

        # the process-wide WANDB_MODE, which Lightning's `offline` sets, would outlive this run
        self._wandb_init.update(
            dir=str(run_dir),
            mode=mode,
            config=config,
            settings=wandb.Settings(silent=True, console="off", **_patience()),
        )
        self._save_dir = str(run_dir)
        name = self._wandb_init["name"] or os.environ.get("WANDB_NAME") or run_name(run_dir)
        known = _stored(run_dir)
        own_id = os.environ.get("WANDB_RUN_ID")
        self._wandb_init.update(name=name, id=own_id or known.get("id"))
        if not own_id and known.get("project"):  # it was online once
            self._wandb_init.update({key: known[key] for key in _PLACE if known.get(key)})
            self._wandb_init.update(dict.fromkeys(_EDITED))
        # Lightning 2.6 still passes it; wandb only warns that it has no effect
        self._wandb_init.pop("anonymous", None)
        run = self._opened()
        before = known if known.get("id") == run.id else {}
        state = before | {"id": run.id, "mode": self._wandb_init["mode"]}
        if state["mode"] == "online":  # which environment or agent may have chosen
            state |= {key: getattr(run, key) for key in (*_PLACE, "url")}
        write_atomically(run_dir / _STATE, json.dumps(state, indent=2) + "\n")

    def _opened(self) -> Any:
        """The run, open; offline where the server refuses it, or confuses wandb's own process."""
        self._is_lost = False
        try:
            run = self.experiment
        except Exception as error:
            if self._wandb_init["mode"] != "online":
                raise
            rank_zero_info(f"Weights & Biases: {error}; this run records offline")
            _end_service()
            self._experiment = None
            self._wandb_init["mode"] = "offline"
            run = self.experiment
        if self._wandb_init["mode"] == "online":
            rank_zero_info(f"Weights & Biases: {run.url}")
        return run

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: `place_in` gave the whole nested configuration, which holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends the figures."""
        self._send(super().log_metrics, metrics, step)

    @rank_zero_only
    def log_image(
        self, key: str, images: list[Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Sends pictures."""
        self._send(super().log_image, key, images, step, **kwargs)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Leaves the run open: `finish` closes it when the command is done."""

    @rank_zero_only
    def finish(self, failed: bool = False) -> None:
        """Closes the run, so that the next one of this process starts its own."""
        if self._experiment is not None:
            self._send(self._experiment.finish, exit_code=int(failed))
            self._experiment = None

    def _send(self, send: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Calls `send`; a run goes on without W&B when wandb's own process has died."""
        if self._is_lost:
            return
        try:
            send(*args, **kwargs)
        except Exception as error:
            self._is_lost = True
            _end_service()
            rank_zero_info(
                f"Weights & Biases failed ({type(error).__name__}: {error}); this run goes on "
                f"without it; `wandb sync --include-online {self._save_dir}/wandb/run-*` sends the "
                "rest"
            )

    def _own_mode(self) -> str:
        """Online, or the mode of `not_sent` and a line that says why."""
        unsent = not_sent()
        if unsent is None:
            return "online"
        kept = "records offline; `wandb sync` on its wandb folder sends it later"
        rank_zero_info(
            f"Weights & Biases: {unsent.reason} ({unsent.remedy}), so this run "
            f"{'is not recorded there' if unsent.mode == 'disabled' else kept}"
        )
        return unsent.mode


def _end_service() -> None:
    """Ends wandb's own process, which would complain once more when this one ends."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def not_sent() -> NotSent | None:
    """Why a run that names no mode shall not or cannot be sent, or None."""
    asked = os.environ.get("WANDB_MODE")
    if asked in _UNSENT:
        return NotSent(asked, f"WANDB_MODE is {asked}", "unset WANDB_MODE")
    import wandb

    settings = wandb.setup().settings
    # wandb.init takes the mode it is given, whatever its own settings say
    if not asked and settings.mode in _UNSENT:
        files = f"{settings.settings_workspace} or {settings.settings_system}"
        remedy = f"`wandb online`, or take the mode out of {files}"
        return NotSent(settings.mode, f"wandb's settings say {settings.mode}", remedy)
    if not (settings.api_key or _has_login(settings.base_url)):
        return NotSent("offline", "not logged in", "`wandb login`")
    if not _answers(settings.base_url):
        remedy = "look at the network, or at WANDB_BASE_URL"
        return NotSent("offline", f"no answer from {settings.base_url}", remedy)
    return None


def _answers(server: str) -> bool:
    """Whether anybody does, be it with an error or a certificate that Python does not know."""
    try:
        with urllib.request.urlopen(server, timeout=_SECONDS_TO_ANSWER):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError as error:
        return isinstance(getattr(error, "reason", error), ssl.SSLError)


def _has_login(server: str) -> bool:
    """Whether wandb will find a key, so that it does not stop the run to ask for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        known = netrc.netrc(_netrc_file())  # of a file that is named it takes any permissions
    except (OSError, netrc.NetrcParseError):
        return False
    logins = [known.authenticators(urllib.parse.urlparse(name).netloc) for name in _names(server)]
    return any(login and login[2] for login in logins)


def _names(server: str) -> list[str]:
    """The server, and what it was called before, under which wandb 0.31 looks for keys as well."""
    with suppress(ImportError):
        from wandb.sdk.lib.urls import forge_upstream_url

        return [server, forge_upstream_url(server)]
    return [server]


def _netrc_file() -> Path:
    """Where wandb looks for a key."""
    asked = os.environ.get("NETRC")
    paths = [Path(name).expanduser() for name in ([asked] if asked else ["~/.netrc", "~/_netrc"])]
    return next((path for path in paths if path.exists()), paths[0])


def _patience() -> dict[str, Any]:
    """How long a run that is done waits for a network that is gone; wandb would wait for hours."""
    import wandb

    known = getattr(wandb.Settings, "model_fields", {})
    seconds = float(os.environ.get("WANDB_FINISH_TIMEOUT") or _SECONDS_TO_SEND)
    wanted = {"finish_timeout": seconds, "finish_timeout_raises": True}  # since wandb 0.28
    return {name: value for name, value in wanted.items() if name in known}


def _stored(run_dir: Path) -> dict[str, Any]:
    advice = "remove it, and the run goes on as a new one of Weights & Biases"
    return read_json(run_dir / _STATE, advice)
