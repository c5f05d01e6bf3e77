"""The playground: one page that ranks in a browser, and the policy that it is served under."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from reranker_worker.web.dialects.calls import Reply

PATH = "/playground"
_INLINE = re.compile(r"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)


@cache
def playground_page() -> Reply:
    """Return the page; it may run its own script, ask its own worker, and nothing else."""
    page = files("reranker_worker.web").joinpath("playground.html").read_text(encoding="utf-8")
    headers = {
        "content-security-policy": content_security_policy(page),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return Reply(200, page.encode(), "text/html; charset=utf-8", headers)


def content_security_policy(page: str) -> str:
    """Return the policy that allows a page's inline script and style by their hashes; no string becomes markup."""
    hashes = {name: _hash(content) for name, content in _INLINE.findall(page)}
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes['script']}",
            f"style-src {hashes['style']}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
