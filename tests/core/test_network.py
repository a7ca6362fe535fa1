"""Whether a network is there is known within two seconds."""

import socket
import threading
import time

import pytest

from course_lib.core.network import check_reachable


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_host_that_accepts_a_connection_is_reachable(server):
    check_reachable(f"http://127.0.0.1:{server}/models", seconds=10)


def test_the_proxy_is_asked_where_there_is_one(server, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server}")
    check_reachable("https://hub.invalid", seconds=10)


def test_a_closed_port_is_not_reachable():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1 cannot be reached"):
        check_reachable(f"http://127.0.0.1:{port}")


def test_a_look_up_that_hangs_is_given_up(monkeypatch):
    released = threading.Event()

    def hang(*_, **__):
        released.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    started = time.monotonic()
    with pytest.raises(ConnectionError, match="hub cannot be reached"):
        check_reachable("https://hub", seconds=0.2)
    assert time.monotonic() - started < 10
    released.set()
