"""How a registry is told who asks: Docker's credentials file, HTTP Basic, and the token that its challenge asks for."""

import base64
import binascii
import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from urllib.request import parse_http_list, parse_keqv_list

import httpx2

from reranker_worker.errors import SourceError

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_KEYS = ("docker.io", "index.docker.io", "https://index.docker.io/v1/")


@dataclass(frozen=True)
class Login:
    """A name and its password; their repr keeps the password out of logs."""

    user: str
    password: str = field(repr=False)


def login(docker_config: str, registry: str) -> Login | None:
    """Return what a Docker credentials file says for a registry, or None; raises SourceError if it can't be read."""
    if not docker_config:
        return None
    try:
        entries = json.loads(docker_config)["auths"]
        known = (entries[key] for key in _keys(registry) if key in entries)
        return next((_login(entry) for entry in known), None)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        message = (
            f"the registry credentials can't be read ({type(error).__name__}): "
            "a Secret of type kubernetes.io/dockerconfigjson is expected"
        )
        raise SourceError("SourceUnauthorized", message) from error


def _keys(registry: str) -> Iterable[str]:
    return _DOCKER_HUB_KEYS if registry == _DOCKER_HUB else (registry, f"https://{registry}")


def _login(entry: dict[str, str]) -> Login:
    if "auth" in entry:
        user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        return Login(user, password)
    return Login(entry["username"], entry["password"])


def _is_there(answered: httpx2.URL, asked: httpx2.URL) -> bool:
    """Tell whether the registry itself answered: where it sent the request on to, nobody may ask for its password."""
    return (answered.scheme, answered.host, answered.port) == (asked.scheme, asked.host, asked.port)


#: What a request's extensions say where its answer is a login, which goes on to the registry.
FOR_A_TOKEN = "for_a_token"  # noqa: S105 — a name


class RegistryAuth(httpx2.Auth):
    """Answers a registry's challenge and keeps what it got for the requests that follow."""

    def __init__(self, at: str, known: Login | None) -> None:
        self._at = at
        self._login = known
        self._header = ""

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request; where it is refused, log in as the refusal says and send it again."""
        if self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        scheme, _, parameters = response.headers.get("WWW-Authenticate", "").partition(" ")
        if response.status_code != 401 or not scheme or not _is_there(response.url, request.url):
            return
        if scheme.lower() == "basic" and self._login is not None:
            self._header = self._basic(self._login)
        elif scheme.lower() == "bearer":
            answer = yield self._token_request(request.url, parse_keqv_list(parse_http_list(parameters)))
            if answer.status_code != 200:
                return
            body = json.loads(answer.read())
            self._header = f"Bearer {body.get('token') or body['access_token']}"
        else:
            return
        request.headers["Authorization"] = self._header
        yield request

    def _token_request(self, registry: httpx2.URL, challenge: dict[str, str]) -> httpx2.Request:
        realm = httpx2.URL(challenge["realm"])
        if registry.scheme == "https" and realm.scheme != "https":
            message = f"{self._at}: the registry wants its login sent to {realm.host or realm} without TLS"
            raise SourceError("SourceUnreachable", message)
        asked: dict[str, str] = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        headers = {"Authorization": self._basic(self._login)} if self._login is not None else {}
        return httpx2.Request("GET", realm, params=asked, headers=headers, extensions={FOR_A_TOKEN: True})

    @staticmethod
    def _basic(known: Login) -> str:
        return "Basic " + base64.b64encode(f"{known.user}:{known.password}".encode()).decode()
