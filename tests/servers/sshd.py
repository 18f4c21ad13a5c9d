"""A real OpenSSH server on loopback, with its own host key, for one user and the keys that a test allows.

Where no sshd is installed, Debian's package is downloaded and unpacked into the user's cache folder; nothing is
installed and root is not needed. An sshd that runs as root wants a user `sshd` and a folder /run/sshd: a missing user
is made up for that process alone by nss_wrapper, the folder is made.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.processes import Process, ProcessKeeper

_PACKAGES = ("openssh-server", "libwrap0", "libnss-wrapper")
_DOWNLOAD_SECONDS = 120
_START_SECONDS = 15
_PRIVILEGE_SEPARATION = Path("/run/sshd")


class SshdUnavailableError(Exception):
    """No sshd can be run here; the message says why."""


@dataclass(frozen=True, slots=True)
class _Sshd:
    binary: Path
    libraries: tuple[Path, ...]


def generate_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen and return the path of the private key; the public one is beside it (.pub)."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_START_SECONDS,
    )
    return path


class SshServer:
    """Serves every repository of the machine at ``<url>/<path>`` to `authorized` public keys. A context manager.

    Raises `SshdUnavailableError` where no sshd can be had.
    """

    def __init__(self, folder: Path, authorized: list[Path], *, accept_protocol_v2: bool = True) -> None:
        self._folder = folder
        self._sshd = find_sshd()
        self._keeper = ProcessKeeper()
        self._process: Process | None = None
        self.port = _free_port()
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.host_key = generate_key(folder / "host_key")
        keys = folder / "authorized_keys"
        keys.write_text("".join(key.with_name(f"{key.name}.pub").read_text() for key in authorized))
        self._config = folder / "sshd_config"
        self._config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.host_key}\nAuthorizedKeysFile {keys}\n"
            f"PidFile {folder / 'sshd.pid'}\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n"
            + ("AcceptEnv GIT_PROTOCOL\n" if accept_protocol_v2 else "")
        )

    @property
    def url(self) -> str:
        """The address of the server, without a slash at the end; a repository's absolute path follows."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> str:
        """The line of known_hosts that names this server's key."""
        kind, key = self.host_key.with_name(f"{self.host_key.name}.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def start(self) -> None:
        """Start sshd and wait until it listens."""
        environment = {"PATH": os.environ["PATH"]}
        if self._sshd.libraries:
            environment["LD_LIBRARY_PATH"] = ":".join(str(path) for path in self._sshd.libraries)
        if os.getuid() == 0:
            environment |= self._for_root()
        # -D: stay in the foreground; -e: log to stderr; sshd wants its own path to be absolute
        command = [str(self._sshd.binary), "-D", "-e", "-f", str(self._config)]
        self._process = self._keeper.start("sshd", command, self._folder / "sshd.log", environment)
        self._process.wait_until(self._listens, "no listener", _START_SECONDS)

    def close(self) -> None:
        """Stop sshd."""
        self._keeper.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _for_root(self) -> dict[str, str]:
        """Give a root sshd what its separation of privileges needs."""
        try:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise SshdUnavailableError(f"sshd as root needs {_PRIVILEGE_SEPARATION}: {error}") from error
        try:
            pwd.getpwnam("sshd")
        except KeyError:
            pass
        else:
            return {}
        wrapper = next((lib for path in self._sshd.libraries for lib in path.glob("libnss_wrapper.so*")), None)
        if wrapper is None:
            raise SshdUnavailableError("sshd as root needs a user named sshd, which this machine lacks")
        users, groups = self._folder / "passwd", self._folder / "group"
        own = Path("/etc/passwd").read_text()
        users.write_text(f"{own.rstrip()}\nsshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n")
        shutil.copyfile("/etc/group", groups)
        return {"LD_PRELOAD": str(wrapper), "NSS_WRAPPER_PASSWD": str(users), "NSS_WRAPPER_GROUP": str(groups)}

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def find_sshd() -> _Sshd:
    """Return the installed sshd, else one from Debian's package in the cache; raises `SshdUnavailableError`."""
    installed = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if installed is not None:
        return _Sshd(Path(installed).resolve(), ())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "felloe" / "openssh"
    if not (cache / "usr/sbin/sshd").exists():
        _unpack(cache)
    return _Sshd(cache / "usr/sbin/sshd", (*cache.glob("usr/lib/*-linux-*"), *cache.glob("lib/*-linux-*")))


def _unpack(cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
        root = Path(folder) / "root"
        try:
            _run(["apt-get", "download", "--quiet", *_PACKAGES], Path(folder))
            for package in Path(folder).glob("*.deb"):
                _run(["dpkg", "-x", str(package), str(root)], Path(folder))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SshdUnavailableError(f"no sshd is installed, and Debian's package can't be had: {error}") from error
        shutil.rmtree(cache, ignore_errors=True)
        root.rename(cache)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_DOWNLOAD_SECONDS, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        raise SshdUnavailableError(f"no sshd is installed, and {' '.join(command[:2])} failed: {reason}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
