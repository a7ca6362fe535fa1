"""Is there a network? A quick answer, before a library retries for half a minute."""

from __future__ import annotations

import socket
import threading
import urllib.request
from urllib.parse import urlparse

SECONDS = 1.5


def check_reachable(url: str, seconds: float = SECONDS) -> None:
    """Return if the host of ``url``, or the proxy that this machine uses for it, accepts a connection.

    Raises:
        ConnectionError: if it does not within ``seconds``; looking up its address counts.
    """
    target = urlparse(url)
    proxy = urllib.request.getproxies().get(target.scheme)
    host = urlparse(proxy) if proxy and not urllib.request.proxy_bypass(target.hostname or "") else target
    port = host.port or (443 if host.scheme == "https" else 80)
    reached = threading.Event()
    done = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host.hostname or "", port), timeout=seconds).close()
            reached.set()
        except OSError:
            pass
        finally:
            done.set()

    threading.Thread(target=connect, daemon=True).start()  # a look-up of an address cannot be interrupted
    done.wait(seconds)
    if not reached.is_set():
        raise ConnectionError(f"{target.hostname} cannot be reached")
