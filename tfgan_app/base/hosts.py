"""Hosts that something is downloaded from: asked first, as downloads by themselves retry for minutes."""

import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import requests

__all__ = ["cause", "unreachable"]

_CONNECT_SECONDS = 4.0  # for one step of a connection to a host
_PROBE_SECONDS = 10.0  # for all hosts together, slow name servers and redirections included


def unreachable(urls: Iterable[str]) -> str | None:
    """Returns why one of the hosts of URLs cannot be reached, or None if all answer."""
    by_host = {urlsplit(url).hostname: url for url in urls if url.startswith("http")}
    failures: dict[str | None, str] = dict.fromkeys(by_host, f"no answer within {_PROBE_SECONDS:.0f} s")

    def probe(host: str | None, url: str) -> None:
        try:
            # GET, without reading the body: not every host serves HEAD.
            with requests.get(url, stream=True, timeout=_CONNECT_SECONDS) as response:
                response.raise_for_status()
            del failures[host]
        except requests.RequestException as error:
            failures[host] = cause(error)

    # Daemons: a name server that never answers must not keep the process from ending.
    threads = [threading.Thread(target=probe, args=item, daemon=True) for item in by_host.items()]
    deadline = time.monotonic() + _PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return next((f"{host}: {failure}" for host, failure in list(failures.items())), None)


def cause(error: Exception) -> str:
    """Returns what happened, without the names and arguments of calls that requests wraps it in."""
    # Such as "Failed to resolve ...".
    inner = getattr(error.args[0], "reason", error) if error.args else type(error).__name__
    return str(inner).split("): ", 1)[-1]
