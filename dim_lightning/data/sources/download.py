"""Archives from the network: resumed where they were cut, checked, and unpacked beside."""

import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dim_lightning.data.disk import folder_when_done, locked
from dim_lightning.data.progress import progress
from dim_lightning.errors import InputError
from dim_lightning.writing import explained

ATTEMPTS = 3
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20
ROOT = "data.root"  # the setting that says where data sets lie
CUT = (OSError, http.client.HTTPException)  # errors of writing are told as such before


class NotFoundError(InputError):
    """A data set is not there, and was not downloaded."""


def fetch_folder(
    url: str, archive: Path, md5: str, name: str, missing: str, download: bool
) -> None:
    """Have the folder `name` beside `archive`, unpacked from it, which is downloaded if missing.

    Several processes may ask for it at once: one does the work. The archive stays.

    Args:
        url: where the archive is to be had.
        archive: where it lies or will lie.
        md5: its checksum.
        name: of the folder wanted, which is in the archive.
        missing: what was looked for and where, for the error.
        download: whether it may be downloaded.

    Raises:
        InputError: the archive cannot be had, has another checksum, or the disk is full.
    """
    if not (download or archive.exists()):
        raise NotFoundError(
            f"did not find {missing}; downloading is switched off; {_advice(url, archive)}"
        )
    folder = archive.parent / name
    with locked(archive.with_name(f".{archive.name}.lock"), ROOT):
        if folder.exists():  # another process has brought it meanwhile
            return
        fetch(url, archive, md5, missing)
        with explained(archive.parent, ROOT), folder_when_done(folder) as partial:
            # Pythons before 3.10.12 and 3.11.4 lack the filter; the checksum was right in any case.
            filters = archive.suffix != ".zip" and hasattr(tarfile, "data_filter")
            safe: dict[str, Any] = {"filter": "data"} if filters else {}
            shutil.unpack_archive(archive, partial, **safe)
            for entry in (partial / name).iterdir():
                entry.rename(partial / entry.name)
            (partial / name).rmdir()


def fetch(url: str, path: Path, md5: str, missing: str) -> None:
    """Have the file `path`, from `url` if it is not there.

    What has come so far lies in `<path>.partial`; a download that was cut goes on from there.

    Raises:
        InputError: the file cannot be had, or has another checksum.
    """
    from torchvision.datasets.utils import calculate_md5

    if path.exists():
        found = calculate_md5(path)
        if found != md5:
            raise InputError(
                f"{path.absolute()} has the checksum {found}; expected {md5}; remove it to have it "
                "downloaded anew"
            )
        return
    partial = path.with_name(f"{path.name}.partial")
    failure = ""
    for _ in range(ATTEMPTS):
        try:
            _receive(url, partial)
        except CUT as error:
            failure = f"downloading {url} failed ({getattr(error, 'reason', None) or error!r})"
            continue
        found = calculate_md5(partial)
        if found == md5:
            partial.replace(path)
            return
        failure = f"what came from {url} has the checksum {found}, not {md5}"
        partial.unlink()
    raise NotFoundError(f"did not find {missing}; {failure}; {_advice(url, path)}")


def _advice(url: str, path: Path) -> str:
    """What to do where an archive cannot be downloaded."""
    return (
        f"try again with a network, or put {url} at {path.absolute()}, or set {ROOT} to the folder "
        "that has the data"
    )


def _receive(url: str, partial: Path) -> None:
    """Bring `partial` to its end, from where it stands if the server can do that."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and done:  # nothing left to send: the checksum decides
            return
        raise
    with answer:
        start = done if answer.status == 206 else 0
        length = int(answer.headers.get("Content-Length") or 0)
        with progress(f"downloading {url}", start + length, unit="B", done=start) as advance:
            _store(answer, partial, start, advance)
    if length and partial.stat().st_size < start + length:
        raise http.client.IncompleteRead(b"", start + length - partial.stat().st_size)


def _store(
    answer: http.client.HTTPResponse, partial: Path, start: int, advance: Callable[[int], object]
) -> None:
    """Append what the server sends to the first `start` bytes of `partial`."""
    with explained(partial.parent, ROOT):
        file = partial.open("ab" if start else "wb")
    with file:
        while block := answer.read(BLOCK):
            with explained(partial.parent, ROOT):
                file.write(block)
                file.flush()
            advance(len(block))
