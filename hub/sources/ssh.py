"""Git over ssh with a deploy key, in-process, trusting only the host keys that the source's secret names.

Nothing of the machine takes part: no agent, no ~/.ssh, no default keys, no configuration. An unknown host key is an
error and never learned: a hub that trusts on first use hands its fleet to whoever answers first.
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dulwich.client import SSHGitClient, SSHVendor, SubprocessWrapper
from paramiko.hostkeys import HostKeyEntry

from felloe.errors import SourceError
from hub.sources.deadline import Deadline
from hub.sources.secrets import Secret
from hub.sources.url import shown, split_url

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_DEFAULT_PORT = 22
_DEFAULT_USER = "git"
_LOG_CHANNEL = f"{__name__}.paramiko"
_OPENSSH_FORMAT = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())


def ssh_client(url: str, secret: Secret | None, deadline: Deadline) -> SSHGitClient:
    """Return a dulwich client for an ssh URL; raises `SourceError` where the secret lacks what ssh needs."""
    if secret is None:
        raise SourceError(
            f"{shown(url)}: ssh needs a secret with identity (the private key) and known_hosts; name it in secretRef"
        )
    parts = split_url(url)
    vendor = _Vendor(_private_key(secret), KnownHosts.of(secret), deadline)
    return SSHGitClient(
        parts.hostname or "", port=parts.port or _DEFAULT_PORT, username=parts.username or _DEFAULT_USER, vendor=vendor
    )


class _Vendor(SSHVendor):
    """Runs ``git-upload-pack`` on the remote for dulwich."""

    def __init__(self, key: paramiko.PKey, known: KnownHosts, deadline: Deadline) -> None:
        self._key = key
        self._known = known
        self._deadline = deadline

    def run_command(
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        password: str | None = None,
        key_filename: str | None = None,
        ssh_command: str | None = None,
        protocol_version: int | None = None,
    ) -> SubprocessWrapper:
        """Connect, check the host key, log in with the deploy key and start `command`."""
        where = f"ssh://{host}:{port or _DEFAULT_PORT}"
        transport = self._connect(where, host, port or _DEFAULT_PORT)
        try:
            _log_in(transport, where, username or _DEFAULT_USER, self._key)
            channel = transport.open_session(timeout=self._deadline.remaining())
            channel.settimeout(self._deadline.remaining())
            if protocol_version in (None, 2):
                channel.set_environment_variable("GIT_PROTOCOL", "version=2")
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            self._deadline.remaining()
            raise SourceError(f"{where}: the connection broke: {error}") from error
        except SourceError:
            transport.close()
            raise
        return _Conversation(transport, channel)

    def _connect(self, where: str, host: str, port: int) -> paramiko.Transport:
        try:
            sock = socket.create_connection((host, port), timeout=self._deadline.remaining())
        except TimeoutError as error:
            raise SourceError(f"{where}: no answer within the timeout") from error
        except OSError as error:
            raise SourceError(f"{where} can't be reached: {error.strerror or error}") from error
        self._deadline.guard_socket(sock)
        transport = paramiko.Transport(sock)
        transport.set_log_channel(_quiet_channel())
        name = host if port == _DEFAULT_PORT else f"[{host}]:{port}"
        known = self._known.keys_of(name)
        if not known:
            transport.close()
            raise SourceError(
                f"{where}: host key verification failed: known_hosts of the source's secret has no key for {name}"
            )
        _prefer(transport, {key.get_name() for key in known})
        try:
            transport.start_client(timeout=self._deadline.remaining())
            offered = transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            self._deadline.remaining()
            raise SourceError(f"{where}: no ssh connection: {error}") from error
        if offered not in known:
            transport.close()
            raise SourceError(
                f"{where}: host key verification failed: the host shows {offered.get_name()} {offered.fingerprint},"
                " which known_hosts of the source's secret does not have for it; if the host's key was changed on"
                " purpose, update known_hosts"
            )
        return transport


class _Conversation(SubprocessWrapper):
    """A remote command as dulwich sees a process."""

    def __init__(self, transport: paramiko.Transport, channel: paramiko.Channel) -> None:
        self._transport = transport
        self._channel = channel
        self._output = channel.makefile("rb")
        self.read = self._receive
        self.write = self._send
        self._errors: BinaryIO = channel.makefile_stderr("rb")  # type: ignore[assignment]

    @property
    def stderr(self) -> BinaryIO:
        """What the remote command says on its error output."""
        return self._errors

    def can_read(self) -> bool:
        """Say whether output is there."""
        return self._channel.recv_ready()

    def _receive(self, size: int | None = None, /) -> bytes:
        return self._output.read(size)

    def _send(self, data: ReadableBuffer, /) -> int:
        sent = bytes(data)
        self._channel.sendall(sent)
        return len(sent)

    def close(self, timeout: int | None = None) -> None:
        """End the remote command and the connection."""
        self._channel.close()
        self._transport.close()


def _log_in(transport: paramiko.Transport, where: str, username: str, key: paramiko.PKey) -> None:
    try:
        transport.auth_publickey(username, key)
    except paramiko.AuthenticationException as error:
        raise SourceError(
            f"{where} refused the key {key.get_name()} {key.fingerprint} of the source's secret for user {username};"
            " add its public half as a deploy key there"
        ) from error


def _prefer(transport: paramiko.Transport, known: set[str]) -> None:
    """Ask for a host key of a kind that is known, as OpenSSH does: a host with several keys must not look changed."""
    options = transport.get_security_options()
    kinds = known | ({"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in known else set())
    wanted = [kind for kind in options.key_types if kind in kinds]
    if wanted:
        options.key_types = wanted


def _private_key(secret: Secret) -> paramiko.PKey:
    """Read ``identity``, in OpenSSH's or a PEM format, with ``password`` as its passphrase."""
    data = secret.binary("identity")
    if data is None:
        raise SourceError(f"secret {secret.name} has no identity (the private key), which ssh needs")
    passphrase = secret.binary("password")
    passphrase = passphrase.rstrip(b"\r\n") if passphrase else None
    loader = (
        serialization.load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else serialization.load_pem_private_key
    )
    if b"ENCRYPTED" not in data and b"OPENSSH" not in data:
        passphrase = None  # as ssh does: a passphrase for a key that has none is no error
    try:
        key = loader(data, passphrase)
    except TypeError:
        if passphrase is None:
            raise SourceError(f"secret {secret.name}: identity needs a passphrase; add it as password") from None
        key = _load_open_key(data, secret)
    except (ValueError, UnsupportedAlgorithm):
        raise SourceError(
            f"secret {secret.name}: identity is no private key that can be read, or its passphrase (password) is wrong"
        ) from None
    kinds: tuple[tuple[type, type[paramiko.PKey]], ...] = (
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (rsa.RSAPrivateKey, paramiko.RSAKey),
    )
    for cryptography_kind, paramiko_kind in kinds:
        if isinstance(key, cryptography_kind):
            text = key.private_bytes(*_OPENSSH_FORMAT)
            return paramiko_kind.from_private_key(io.StringIO(text.decode()))
    raise SourceError(f"secret {secret.name}: identity is neither an ed25519, an ecdsa nor an rsa key")


def _load_open_key(data: bytes, secret: Secret) -> serialization.ssh.SSHPrivateKeyTypes:
    try:
        return serialization.load_ssh_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SourceError(f"secret {secret.name}: identity is no private key that can be read") from None


def _quiet_channel() -> str:
    """Name a log channel that passes on nothing: paramiko logs tracebacks of what is raised here anyway."""
    logging.getLogger(_LOG_CHANNEL).setLevel(logging.CRITICAL + 1)
    return _LOG_CHANNEL


class KnownHosts:
    """The host keys that a known_hosts file lists, with plain, hashed and ``[host]:port`` names (sshd(8))."""

    def __init__(self, entries: Sequence[tuple[str, paramiko.PKey]]) -> None:
        self._entries = entries

    @classmethod
    def of(cls, secret: Secret) -> KnownHosts:
        """Read the ``known_hosts`` of a secret; raises `SourceError`."""
        text = secret.text("known_hosts")
        if text is None:
            raise SourceError(
                f"secret {secret.name} has no known_hosts, which ssh needs to recognize the host (see ssh-keyscan)"
            )
        entries: list[tuple[str, paramiko.PKey]] = []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("@"):
                raise SourceError(
                    f"secret {secret.name}: line {number} of known_hosts has a marker (@…), which is not supported"
                )
            try:
                entry = HostKeyEntry.from_line(line)
            except paramiko.SSHException:
                entry = None
            if entry is not None and entry.hostnames and entry.key is not None:
                entries += [(host, entry.key) for host in entry.hostnames]
        return cls(entries)

    def keys_of(self, name: str) -> list[paramiko.PKey]:
        """Return the keys that are trusted for a host; none where it is unknown."""
        return [key for pattern, key in self._entries if _is_host(pattern, name)]


def _is_host(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return paramiko.HostKeys.hash_host(name, pattern) == pattern
    return pattern.casefold() == name.casefold()
