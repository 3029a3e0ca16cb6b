"""Hosts with addresses of their own: network namespaces of this machine, joined by a switch."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path


class NoHostsError(Exception):
    """Says why there can be none here."""


class Hosts:
    """So many hosts on one network, 10.77.0.1 and so on; they share the disk."""

    def __init__(self, count):
        self.count = count
        self._holders = []
        try:
            switch = self._namespace()
            _on(switch, "ip", "link", "add", "switch", "type", "bridge")
            _on(switch, "ip", "link", "set", "switch", "up")
            self._hosts = [self._host(switch, i) for i in range(count)]
        except NoHostsError:
            self.close()
            raise

    def address(self, host):
        return f"10.77.0.{host + 1}"

    def start(self, host, command, environment, log):
        """Starts a command on a host; what it prints is added to the file `log`."""
        with log.open("a") as output:
            return subprocess.Popen(
                [*_enter(self._hosts[host]), *command],
                env={**environment, "GLOO_SOCKET_IFNAME": "eth0"},
                stdout=output,
                stderr=output,
            )

    def close(self):
        """Ends all hosts and what runs on them, whatever session it is in."""
        for holder in self._holders:
            for pid in _processes_in(holder.pid):
                _kill(pid)
            holder.wait()
            holder.stderr.close()
        self._holders = []

    def _namespace(self):
        for program in ("unshare", "nsenter", "ip"):
            if shutil.which(program) is None:
                raise NoHostsError(f"there is no program {program}")
        # who is not root becomes it in a user namespace, which the further hosts share
        start = [] if _is_root() else ["unshare", "--user", "--map-root-user"]
        if start and self._holders:
            start = _enter(self._holders[0].pid)
        command = [*start, "unshare", "--net", "sleep", "infinity"]
        holder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        taken = {None, _network(os.getpid()), *(_network(other.pid) for other in self._holders)}
        while _network(holder.pid) in taken:
            if holder.poll() is not None:
                said = holder.communicate()[1].strip()
                raise NoHostsError(f"network namespaces are not allowed: {said}")
            time.sleep(0.01)
        self._holders.append(holder)
        _on(holder.pid, "ip", "link", "set", "lo", "up")
        return holder.pid

    def _host(self, switch, number):
        host = self._namespace()
        port = f"port{number}"
        wire = ["type", "veth", "peer", "name", "eth0", "netns", str(host)]
        _on(switch, "ip", "link", "add", port, *wire)
        _on(switch, "ip", "link", "set", port, "master", "switch", "up")
        _on(host, "ip", "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        _on(host, "ip", "link", "set", "eth0", "up")
        return host


def _enter(pid):
    user = [] if _is_root() else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(pid), *user, "--net", "--"]


def _is_root():
    return os.geteuid() == 0


def _on(pid, *command):
    done = subprocess.run([*_enter(pid), *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoHostsError(f"{' '.join(command)}: {done.stderr.strip()}")


def _network(pid):
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:  # it has ended, or is another user's
        return None


def _processes_in(holder):
    network = _network(holder)
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if network is not None and _network(pid) == network]


def _kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
