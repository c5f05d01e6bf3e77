"""Where a registry may send the fetcher on to, and what it takes along."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching import registry_reach
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins, Registries
from reranker_worker.fetching.registry_auth import Login, RegistryAuth
from reranker_worker.fetching.registry_reach import Address, Zone, forbidden
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source
from tests.fixtures.hub import answering

PUBLIC = "93.184.215.14"
PASSWORD = "s3cret"


@dataclass
class Registry:
    """Answers every request in one way, as a registry (127.0.0.1) or as whom it sends on to (127.0.0.2)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)  # by the path's first part
    seen: list[tuple[str, str | None]] = field(default_factory=list)  # host and first part of the path, Authorization
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        return f"http://127.0.0.2:{self.port}"

    def asks_for_a_login(self, realm: str) -> None:
        self.answers["v2"] = (401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b"")


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        part = self.path.split("/")[1].partition("?")[0]
        credentials = self.headers["Authorization"]
        self.registry.seen.append((f"{self.headers['Host'].partition(':')[0]}/{part}", credentials))
        asks = part == "v2" and credentials is not None and "logged in" in self.registry.answers
        status, headers, body = self.registry.answers["logged in" if asks else part]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry({"internal": (200, {}, b'{"token": "internal"}'), "token": (200, {}, b'{"token": "t0ken"}')})
    server = ThreadingHTTPServer(("0.0.0.0", 0), type("Handler", (_Handler,), {"registry": state}))
    server.daemon_threads = True
    state.port = server.server_port
    with answering(server):
        yield state


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry be a public one by its address; what it sends on to stays on the loopback interface."""

    def addresses(host: str) -> list[Address]:
        return [ip_address(PUBLIC if host == "127.0.0.1" else host)]

    monkeypatch.setattr(registry_reach, "addresses", addresses)
    monkeypatch.setattr(registry_reach, "peer", lambda answer: addresses(answer.request.url.host))


def refusal(registry: Registry, tmp_path: Path) -> SourceError:
    credentials = json.dumps({"auths": {registry.address: {"username": "robot", "password": PASSWORD}}})
    registries = Registries(credentials, frozenset({registry.address}))
    source = Source(f"oci://{registry.address}/acme/legal", "sha256:" + "0" * 64)
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    with pytest.raises(SourceError) as caught:
        fetch_artifact(source, cache, Origins(tmp_path, Hub(), registries), Transfer())
    assert PASSWORD not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("target", "registry", "allowed"),
    [
        pytest.param(PUBLIC, PUBLIC, True, id="public to public"),
        pytest.param("2606:2800:21f:cb07:6820:80da:af6b:8b2c", PUBLIC, True, id="public by IPv6"),
        pytest.param("64:ff9b::5db8:d70e", PUBLIC, True, id="public behind NAT64"),
        pytest.param(PUBLIC, "10.0.0.1", True, id="the cluster's to public"),
        pytest.param("10.0.0.2", "192.168.0.1", True, id="the cluster's to the cluster's"),
        pytest.param("127.0.0.2", "127.0.0.1", True, id="this machine's to this machine's"),
        pytest.param("10.0.0.2", "127.0.0.1", True, id="this machine's to the cluster's"),
        pytest.param("10.0.0.2", PUBLIC, False, id="private"),
        pytest.param("100.64.0.1", PUBLIC, False, id="a provider's own"),
        pytest.param("fd12::1", PUBLIC, False, id="private by IPv6"),
        pytest.param("127.0.0.1", PUBLIC, False, id="loopback"),
        pytest.param("::1", PUBLIC, False, id="loopback by IPv6"),
        pytest.param("0.0.0.0", PUBLIC, False, id="unspecified, which is this machine"),
        pytest.param("::ffff:10.0.0.2", PUBLIC, False, id="private, mapped"),
        pytest.param("64:ff9b::a00:2", PUBLIC, False, id="private behind NAT64"),
        pytest.param(f"{PUBLIC} 10.0.0.2", PUBLIC, False, id="private beside public"),
        pytest.param("127.0.0.1", "10.0.0.1", False, id="the cluster's to this machine"),
        pytest.param("10.0.0.2", f"{PUBLIC} 10.0.0.1", False, id="of a registry that is public, too"),
        pytest.param("10.0.0.2", "", False, id="of a registry that isn't known"),
        pytest.param("169.254.169.254", "10.0.0.1", False, id="link-local"),
        pytest.param("fe80::1", "127.0.0.1", False, id="link-local by IPv6"),
        pytest.param("168.63.129.16", "10.0.0.1", False, id="Azure's metadata"),
        pytest.param("fd00:ec2::254", "10.0.0.1", False, id="AWS's metadata"),
    ],
)
def test_where_a_registry_may_have_its_clients_ask_for_a_token(target: str, registry: str, allowed: bool) -> None:
    refused = forbidden(map(ip_address, target.split()), map(ip_address, registry.split()), Zone.PUBLIC)
    assert (refused is None) is allowed


@pytest.mark.parametrize(
    ("target", "allowed"), [("10.0.0.2", True), ("fd12::1", True), ("127.0.0.1", False), ("169.254.169.254", False)]
)
def test_a_redirect_may_lead_to_a_bucket_by_its_private_address(target: str, allowed: bool) -> None:
    assert (forbidden([ip_address(target)], [ip_address(PUBLIC)], Zone.PRIVATE) is None) is allowed


@pytest.mark.usefixtures("public")
def test_a_public_registry_cannot_have_an_internal_service_asked_for_a_token(
    registry: Registry, tmp_path: Path
) -> None:
    registry.asks_for_a_login(f"{registry.elsewhere}/internal")
    error = refusal(registry, tmp_path)
    assert error.reason == "SourceUnreachable"
    assert "sends its clients on to 127.0.0.2" in error.message
    assert registry.seen == [("127.0.0.1/v2", None)]


@pytest.mark.usefixtures("public")
def test_a_public_registry_cannot_redirect_to_an_internal_service(registry: Registry, tmp_path: Path) -> None:
    registry.answers["v2"] = (307, {"Location": f"{registry.elsewhere}/internal"}, b"")
    error = refusal(registry, tmp_path)
    assert "sends its clients on to 127.0.0.2" in error.message
    assert registry.seen == [("127.0.0.1/v2", None)]


@pytest.mark.usefixtures("public")
def test_a_token_server_cannot_redirect_to_an_internal_service_either(registry: Registry, tmp_path: Path) -> None:
    registry.asks_for_a_login(f"http://{registry.address}/moved")
    registry.answers["moved"] = (307, {"Location": f"{registry.elsewhere}/internal"}, b"")
    refusal(registry, tmp_path)
    assert [host for host, _ in registry.seen] == ["127.0.0.1/v2", "127.0.0.1/moved"]


@pytest.mark.usefixtures("public")
def test_an_answer_is_not_read_where_the_name_stands_for_another_address_by_now(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.asks_for_a_login(f"{registry.elsewhere}/internal")
    monkeypatch.setattr(registry_reach, "addresses", lambda _: [ip_address(PUBLIC)])
    assert "whose address 127.0.0.2" in refusal(registry, tmp_path).message
    assert [host for host, _ in registry.seen] == ["127.0.0.1/v2", "127.0.0.2/internal"]


@pytest.mark.usefixtures("public")
def test_a_registry_is_where_it_answers_from_whatever_lookups_say_of_it(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.asks_for_a_login(f"{registry.elsewhere}/internal")
    monkeypatch.setattr(registry_reach, "addresses", lambda _: [ip_address("127.0.0.1")])
    refusal(registry, tmp_path)
    assert [host for host, _ in registry.seen] == ["127.0.0.1/v2"]


@pytest.mark.usefixtures("public")
def test_behind_a_proxy_lookups_decide(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # not of these requests: they have no TLS
    registry.asks_for_a_login(f"{registry.elsewhere}/internal")
    monkeypatch.setattr(registry_reach, "addresses", lambda _: [])  # a proxy's client may know no name
    refusal(registry, tmp_path)
    assert [host for host, _ in registry.seen] == ["127.0.0.1/v2", "127.0.0.2/internal", "127.0.0.1/v2"]


def test_a_password_is_for_the_registry_and_not_for_where_it_sends_requests(registry: Registry, tmp_path: Path) -> None:
    registry.answers["v2"] = (307, {"Location": f"{registry.elsewhere}/moved"}, b"")
    registry.answers["moved"] = (401, {"WWW-Authenticate": f'Bearer realm="{registry.elsewhere}/token"'}, b"")
    refusal(registry, tmp_path)
    assert registry.seen == [("127.0.0.1/v2", None), ("127.0.0.2/moved", None)]


@pytest.mark.parametrize("challenge", ["Bearer", "Basic"])
def test_what_a_login_brought_stays_with_the_registry(challenge: str, registry: Registry, tmp_path: Path) -> None:
    registry.asks_for_a_login(f"http://{registry.address}/token")
    if challenge == "Basic":
        registry.answers["v2"] = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
    registry.answers["logged in"] = (307, {"Location": f"{registry.elsewhere}/moved"}, b"")
    registry.answers["moved"] = (404, {}, b"")
    refusal(registry, tmp_path)
    assert registry.seen[-1] == ("127.0.0.2/moved", None)
    assert registry.seen[-2][0] == "127.0.0.1/v2"
    assert (registry.seen[-2][1] or "").startswith(challenge)


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        pytest.param("https", "https://auth.example/token", True, id="TLS to TLS"),
        pytest.param("http", "http://auth.example/token", True, id="none to none"),
        pytest.param("https", "http://auth.example/token", False, id="TLS to none"),
        pytest.param("https", "auth.example/token", False, id="TLS to no address"),
    ],
)
def test_a_registry_with_tls_has_its_login_sent_by_tls(registry: str, realm: str, allowed: bool) -> None:
    asked = httpx2.Request("GET", f"{registry}://registry.example/v2/")
    flow = RegistryAuth("oci://registry.example/a", Login("robot", PASSWORD)).sync_auth_flow(asked)
    next(flow)
    refused = httpx2.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'}, request=asked)
    if allowed:
        assert str(flow.send(refused).url).startswith(realm)
    else:
        with pytest.raises(SourceError, match=r"auth\.example.*without TLS"):
            flow.send(refused)
