import hashlib
import socket
import ssl

import numpy as np
import pytest

from dim_lightning.data.sources import download
from dim_lightning.data.sources.download import fetch
from dim_lightning.errors import InputError

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def get(server, tmp_path):
    """Fetches the served file into the path it returns."""
    server.content = CONTENT

    def run(md5=MD5):
        fetch(server.url, tmp_path / "file.zip", md5, "the file")
        return tmp_path / "file.zip"

    return run


def test_a_file_arrives_whole(get):
    assert get().read_bytes() == CONTENT


def test_a_download_cut_short_goes_on_where_it_stopped(get, server):
    server.cut = 100_000
    assert get().read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_what_breaks_below_the_connection_is_a_cut_as_well(get, monkeypatch):
    """As a proxy that spoils a record of TLS in the midst of a file."""
    store, left = download._store, [ssl.SSLError("bad record mac")]

    def spoilt(*arguments):
        if left:
            raise left.pop()
        store(*arguments)

    monkeypatch.setattr(download, "_store", spoilt)
    assert get().read_bytes() == CONTENT


def test_what_an_earlier_process_brought_is_kept(get, server, tmp_path):
    (tmp_path / "file.zip.partial").write_bytes(CONTENT[:200_000])
    assert get().read_bytes() == CONTENT
    assert server.ranges == ["bytes=200000-"]
    assert not (tmp_path / "file.zip.partial").exists()


def test_a_server_without_ranges_sends_all_again(get, server, tmp_path):
    server.honour_ranges = False
    (tmp_path / "file.zip.partial").write_bytes(CONTENT[:200_000])
    assert get().read_bytes() == CONTENT


def test_a_whole_partial_file_only_needs_its_name(get, tmp_path):
    (tmp_path / "file.zip.partial").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT


def test_a_damaged_beginning_is_thrown_away_and_fetched_again(get, server, tmp_path):
    (tmp_path / "file.zip.partial").write_bytes(bytes(200_000))
    assert get().read_bytes() == CONTENT
    assert server.ranges == ["bytes=200000-", None]


def test_a_wrong_checksum_is_an_error_and_leaves_no_file(get, tmp_path):
    with pytest.raises(InputError, match=f"has the checksum {MD5}, not {'0' * 32}"):
        get(md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_on_the_disk_is_told_and_kept(get, server, tmp_path):
    (tmp_path / "file.zip").write_bytes(b"mine")
    with pytest.raises(InputError, match="remove it"):
        get()
    assert (tmp_path / "file.zip").read_bytes() == b"mine"
    assert server.ranges == []


def test_without_network_it_says_what_was_looked_for_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.zip"
        with pytest.raises(InputError, match="did not find the file below here") as error:
            fetch(url, tmp_path / "file.zip", MD5, "the file below here")
    for words in ("refused", url, str(tmp_path / "file.zip"), "data.root"):
        assert words in str(error.value)
