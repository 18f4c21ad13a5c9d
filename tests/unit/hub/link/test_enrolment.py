"""Who may join, who stays a member, and what everybody else is told."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc import aio

from felloe.errors import ConfigError, EnrolmentError, LinkError
from felloe.jointoken import decode_token, encode_token
from hub.link.enrolment import Enrolment
from spoke.__main__ import _served
from spoke.keys import key_pem, new_key
from spoke.link import enrol
from spoke.link.backoff import Backoff
from spoke.state import Identity, IdentityStore
from spoke.state.identity import certificate_pem
from tests.unit.hub.link.rig import Hub, Spoke, ending, eventually, hello, raw_stream, read, running_hub


async def attempt(hub: Hub, token: str, folder: Path) -> Identity:
    return await enrol(token, hub.address, IdentityStore(folder), patience=0.0, backoff=Backoff(0.01, 0.1))


async def test_a_token_makes_a_member_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = hub.enrolment.create_token("dev", {"env": "dev"}, 600.0)
        identity = await attempt(hub, token, tmp_path / "one")
        assert identity.cluster == "dev"
        member = hub.store.cluster("dev")
        assert member is not None
        assert member.labels == {"env": "dev"}
        with pytest.raises(EnrolmentError, match="used already, each is good once; make another"):
            await attempt(hub, token, tmp_path / "two")
        async with raw_stream(identity) as call:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")
        secret = decode_token(token).secret
        state = b"".join(file.read_bytes() for file in (tmp_path / "hub").glob("hub.db*"))
        assert secret not in state
        assert sha256(secret).digest() in state


async def test_a_lost_answer_can_be_had_again_with_the_same_key(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = hub.enrolment.create_token("dev", {}, 600.0)
        identities = IdentityStore(tmp_path / "spoke")
        kept = await new_key()
        identities.save_pending(kept)
        first = await attempt(hub, token, tmp_path / "spoke")
        assert first.key == kept.pem
        (tmp_path / "spoke" / "identity.json").unlink()  # as if the answer had never come …
        identities.save_pending(kept)  # … and the key were still the pending one
        second = await attempt(hub, token, tmp_path / "spoke")
        for identity, good in ((first, False), (second, True)):
            async with raw_stream(identity) as call:
                with suppress(aio.AioRpcError):  # the hub may have refused it already
                    await call.write(hello())
                assert (hub.store.cluster_of_certificate(_serial(identity)) == "dev") is good


async def test_two_at_once_and_one_wins(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = hub.enrolment.create_token("dev", {}, 600.0)
        tries = [attempt(hub, token, tmp_path / str(number)) for number in range(5)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        winners = [result for result in results if isinstance(result, Identity)]
        losers = [result for result in results if isinstance(result, EnrolmentError)]
        assert (len(winners), len(losers)) == (1, 4)
        assert hub.store.cluster_of_certificate(_serial(winners[0])) == "dev"


async def test_an_expired_token(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        early = Enrolment(hub.store, hub.authority, clock=lambda: time.time() - 100)
        token = early.create_token("dev", {}, 60.0)
        with pytest.raises(EnrolmentError, match="the join token has expired; make another"):
            await attempt(hub, token, tmp_path / "spoke")
        assert hub.store.clusters() == []


async def test_a_token_whose_key_is_damaged_or_whose_time_is_long_over(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = decode_token(hub.enrolment.create_token("dev", {}, 600.0))
        token.bootstrap_key = b"garbage"
        with pytest.raises(EnrolmentError, match="the join token is damaged"):
            await attempt(hub, encode_token(token), tmp_path / "spoke")
        token = decode_token(hub.enrolment.create_token("dev", {}, 600.0))
        token.not_after = time.time() - 1
        with pytest.raises(EnrolmentError, match="the join token has expired"):
            await attempt(hub, encode_token(token), tmp_path / "spoke")


async def test_a_withdrawn_token_and_a_wrong_secret(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = hub.enrolment.create_token("dev", {}, 600.0)
        forged = decode_token(token)
        forged.secret = b"x" * 32
        with pytest.raises(EnrolmentError, match="does not know the join token"):
            await attempt(hub, encode_token(forged), tmp_path / "spoke")
        hub.server.revoke("dev")
        with pytest.raises(EnrolmentError, match="does not know the join token"):
            await attempt(hub, token, tmp_path / "spoke")


async def test_a_token_for_another_hub_sends_nothing_and_names_the_hub(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_hub(tmp_path / "other") as other:
        token = other.enrolment.create_token("dev", {}, 600.0)
        pinned = other.authority.fingerprint.hex()
        expected = f"presents a certificate of another CA; the token is for the hub with CA sha256:{pinned}"
        with pytest.raises(EnrolmentError, match=expected):
            await attempt(hub, token, tmp_path / "spoke")
        await attempt(other, token, tmp_path / "spoke")  # the token is unspent


async def test_an_address_that_is_no_hub_or_not_there(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = hub.enrolment.create_token("dev", {}, 600.0)
        plain = await asyncio.start_server(lambda _, writer: writer.write(b"220 mail ready\r\n"), "127.0.0.1", 0)
        port = plain.sockets[0].getsockname()[1]
        identities = IdentityStore(tmp_path / "spoke")
        with pytest.raises(EnrolmentError, match="does not speak TLS"):
            await enrol(token, f"127.0.0.1:{port}", identities)
        plain.close()
        await plain.wait_closed()
        with pytest.raises(LinkError, match="can't be reached"):
            await enrol(token, f"127.0.0.1:{port}", identities, patience=0.0)
        with pytest.raises(EnrolmentError, match="write HOST:PORT"):
            await enrol(token, "hub.example.com", identities)


@pytest.mark.parametrize("text", ["", "hello", "felloe1.", "felloe1.!!!", "felloe1.AAAA", "felloe2.AAAA"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(EnrolmentError, match="join token"):
        decode_token(text)


async def test_a_name_that_no_cluster_can_have(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        for name in ("", "a/b", "Dev", "-dev", "d" * 64, "dev\n"):
            with pytest.raises(ConfigError, match="can't be a cluster's name"):
                hub.enrolment.create_token(name, {}, 600.0)
        with pytest.raises(ConfigError, match="can't live"):
            hub.enrolment.create_token("dev", {}, 0.0)


async def test_a_bootstrap_certificate_opens_no_stream(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        token = decode_token(hub.enrolment.create_token("dev", {}, 600.0))
        key = serialization.load_der_private_key(token.bootstrap_key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        identity = dataclasses.replace(
            hub.member("other"), key=key_pem(key), certificate=certificate_pem(token.bootstrap_certificate)
        )
        async with raw_stream(identity) as call:
            assert (await ending(call)) == (
                "PERMISSION_DENIED: the certificate of a join token is good for enrolment only"
            )


async def test_a_revoked_cluster_is_cut_off_at_once_and_can_join_again(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        identity = hub.member("dev")
        async with raw_stream(identity) as call:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")
            assert hub.server.revoke("dev")
            assert await ending(call) == "PERMISSION_DENIED: cluster dev was revoked"
        async with raw_stream(identity) as call:
            assert "the certificate of cluster dev was revoked; to join again" in await ending(call)
        assert not hub.server.sessions()
        again = hub.member("dev")
        async with raw_stream(again) as call:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")


async def test_a_reinstalled_spoke_replaces_the_old_certificate(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        old, new = hub.member("dev"), hub.member("dev")
        async with raw_stream(old) as call:
            assert "was replaced by a newer enrolment" in await ending(call)
        async with raw_stream(new) as call:
            await call.write(hello())
            assert (await read(call)).HasField("welcome")


async def test_enrolling_again_ends_the_old_stream(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello())
        assert (await read(call)).HasField("welcome")
        await Spoke(tmp_path / "spoke").join(hub, "dev")
        assert "was replaced by a newer enrolment" in await ending(call)


async def test_a_certificate_of_another_ca_gets_no_connection(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub, running_hub(tmp_path / "other") as other:
        stranger = dataclasses.replace(other.member("dev"), hub=hub.address, ca=hub.authority.certificate_pem.decode())
        async with raw_stream(stranger) as call:
            assert (await ending(call)).startswith("UNAVAILABLE")


async def test_a_certificate_renews_itself_and_the_stream_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", lifetime=12.0) as hub:
        spoke = Spoke(tmp_path / "spoke")
        first = await spoke.join(hub, "dev")
        async with spoke.running():
            await eventually(lambda: spoke.client.connected)
            await eventually(lambda: len(hub.listener.hellos) >= 3, timeout=60)
            await eventually(lambda: spoke.client.connected)
            bundle = hub.publish("dev", {"a": "1"})
            await eventually(lambda: spoke.root == bundle.root)
        newest = spoke.identities.load()
        assert newest is not None
        assert newest.key != first.key
        assert hub.store.cluster_of_certificate(_serial(first)) is None


async def test_an_expired_certificate_ends_the_stream(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub", lifetime=1.0) as hub, raw_stream(hub.member("dev")) as call:
        await call.write(hello())
        assert await ending(call) == "UNAUTHENTICATED: the certificate of cluster dev has expired"


def _serial(identity: Identity) -> str:
    from cryptography import x509

    return f"{x509.load_pem_x509_certificate(identity.certificate.encode()).serial_number:x}"


async def test_the_token_of_a_membership_is_not_spent_again_and_a_newer_one_is(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "hub") as hub:
        first = hub.enrolment.create_token("dev", {}, 600.0)
        identity = await attempt(hub, first, tmp_path / "spoke")
        assert _served(first, identity)
        assert not _served(hub.enrolment.create_token("other", {}, 600.0), identity)
        hub.server.revoke("dev")
        newer = hub.enrolment.create_token("dev", {}, 600.0)
        assert not _served(newer, identity), "its certificate is not over, but may be worthless"
        again = await attempt(hub, newer, tmp_path / "spoke")
        assert _served(newer, again)
        assert _served(newer, dataclasses.replace(again, token="")), "of a spoke that did not note its token"
        assert not _served(newer, dataclasses.replace(again, not_after=time.time()))
