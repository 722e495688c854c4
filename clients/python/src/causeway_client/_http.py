"""What both shells need of httpx: clients made alike, requests, and what its errors mean."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx

from causeway_client._steps import Answer, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from causeway_client._steps import Request

# A node ends a connection on which nothing is asked for 30 seconds.
KEEP_SECONDS = 20.0


def client_options(urls: Sequence[str], verify: bool | str | ssl.SSLContext) -> dict[str, Any]:  # noqa: FBT001
    """Make the arguments of an `httpx.Client`, and of an `httpx.AsyncClient`.

    Proxies of the environment are not used: nodes are asked one by one.
    """
    trusted = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
    if not any(url.startswith("https:") for url in urls):
        # Reading the certificates that everybody trusts takes longer than all else that a client begins with.
        trusted = False
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEP_SECONDS)
    return {"verify": trusted, "limits": limits, "trust_env": False, "http2": False, "follow_redirects": False}


def request_of(client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    """Make httpx's own request."""
    timeout = httpx.Timeout(request.answer_within, connect=request.connect_within)
    content = request.body or None
    return client.build_request(
        request.method, request.url, headers=dict(request.headers), content=content, timeout=timeout
    )


def wait_for_pieces(response: httpx.Response, seconds: float) -> None:
    """Change how long each piece of a body may take: until now it was how long the head may."""
    response.request.extensions["timeout"]["read"] = seconds


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """Make an answer; httpx has the names of headers in lower case."""
    return Answer(response.status_code, dict(response.headers), body)


def failure_of(error: httpx.HTTPError) -> Failure:
    """Tell what is known after an error: a request without a connection was not sent."""
    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return Failure(sent, str(error) or type(error).__name__)


def too_late() -> Failure:
    """Tell that an answer came too slowly."""
    return Failure(sent=True, reason="the answer did not come whole in time")
