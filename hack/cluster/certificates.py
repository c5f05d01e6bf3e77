"""The cluster's certificates, made by openssl: one authority, and one certificate for each party."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .paths import build_once
from .progress import output_of

# Nothing from the machine's openssl.cnf: its default extensions would clash with the ones given here.
OPENSSL_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
VALID_DAYS = "365"
KEY_ID = "subjectKeyIdentifier=hash"
AUTHORITY_KEY_ID = "authorityKeyIdentifier=keyid:always"  # strict clients refuse a certificate without it
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Party:
    """Who a certificate is for: Kubernetes takes the common name as the user and the organisation as its group."""

    file: str
    common_name: str
    organisation: str = ""
    names: tuple[str, ...] = ()  # "DNS:…" and "IP:…" that a server answers to


def parties(server_ips: Sequence[str], node: str) -> list[Party]:
    """Return everyone who talks TLS in the cluster."""
    service_names = [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc")]
    server_names = (*service_names, "DNS:kubernetes.default.svc.cluster.local", "DNS:localhost")
    ips = tuple(f"IP:{ip}" for ip in server_ips)
    return [
        Party("apiserver", "kube-apiserver", names=(*server_names, *ips)),
        Party("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Party("front-proxy-client", "front-proxy-client"),
        Party("admin", "kubernetes-admin", "system:masters"),
        Party("controller-manager", "system:kube-controller-manager"),
        Party("scheduler", "system:kube-scheduler"),
        Party("kube-proxy", "system:kube-proxy"),
        Party("coredns", "system:coredns"),
        Party("kubelet", f"system:node:{node}", "system:nodes", names=(f"DNS:{node}", *ips)),
    ]


def make(folder: Path, wanted: Sequence[Party]) -> None:
    """Write the authority, the service-account key and all certificates into `folder`, once."""

    def fill(scratch: Path) -> None:
        (scratch / "openssl.cnf").write_text(OPENSSL_CONFIG)
        for authority in ("ca", "front-proxy-ca"):
            _openssl(*authority_arguments(scratch, authority))
        for party in wanted:
            authority = "front-proxy-ca" if party.file == "front-proxy-client" else "ca"
            _openssl(*certificate_arguments(scratch, party, authority))
        key, public = scratch / "service-account.key", scratch / "service-account.pub"
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key))
        _openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))

    build_once(folder, fill)


def authority_arguments(folder: Path, name: str) -> list[str]:
    """Return openssl's arguments for a self-signed authority."""
    extensions = [KEY_ID, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature"]
    return [*_request(folder, name), "-subj", f"/CN={name}", *_added(extensions)]


def certificate_arguments(folder: Path, party: Party, authority: str) -> list[str]:
    """Return openssl's arguments for one party's key and certificate, signed by `authority`."""
    subject = (f"/O={party.organisation}" if party.organisation else "") + f"/CN={party.common_name}"
    extensions = [KEY_ID, AUTHORITY_KEY_ID, "basicConstraints=critical,CA:FALSE"]
    extensions += ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if party.names:
        extensions.append(f"subjectAltName={','.join(party.names)}")
    signer = ["-CA", f"{folder / authority}.crt", "-CAkey", f"{folder / authority}.key"]
    return [*_request(folder, party.file), "-subj", subject, *_added(extensions), *signer]


def _request(folder: Path, name: str) -> list[str]:
    files = ["-keyout", f"{folder / name}.key", "-out", f"{folder / name}.crt"]
    return ["req", "-x509", "-config", str(folder / "openssl.cnf"), *NEW_KEY, "-days", VALID_DAYS, *files]


def _added(extensions: Sequence[str]) -> list[str]:
    return [argument for extension in extensions for argument in ("-addext", extension)]


def _openssl(*arguments: str) -> None:
    output_of(f"openssl {arguments[0]}", ["openssl", *arguments])
