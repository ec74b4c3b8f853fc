"""The proxy of the chaos runs passes what it is given, and breaks it the way each rule says."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.faults.network import DOWN, UP, Cut, Delay, Forgotten, HalfClose, Hole
from tests.chaos.faults.stores import Busy, Half
from tests.chaos.proxy import Loop, Proxy, Rule

ANSWER_S = 5.0
SHORT_S = 0.2


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Before a server that answers every chunk by itself in upper case, and "bye" to the end of what is said."""

    def serve(there: socket.socket) -> None:
        with there:
            try:
                while data := there.recv(1_000_000):
                    there.sendall(data.upper())
                there.sendall(b"bye")
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                there, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(there,)).start()

    with socket.create_server(("127.0.0.1", 0)) as listener, Loop() as loop:
        thread = threading.Thread(target=accept)
        thread.start()
        made = Proxy(target=listener.getsockname()[1], loop=loop)
        made.open()
        yield made
        made.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def connect(proxy: Proxy) -> socket.socket:
    """A caller."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=ANSWER_S)


def ask(caller: socket.socket, text: bytes) -> bytes:
    """Says something and returns the answer, as long as what was said."""
    caller.sendall(text)
    answer = b""
    while len(answer) < len(text):
        more = caller.recv(len(text) - len(answer))
        if not more:
            break
        answer += more
    return answer


def hang_up(caller: socket.socket) -> bytes:
    """Listens once and closes."""
    with caller:
        return caller.recv(1)


def test_what_is_said_is_passed_on_and_so_is_its_end(proxy: Proxy) -> None:
    with connect(proxy) as caller:
        assert ask(caller, b"hello" * 100_000) == b"HELLO" * 100_000
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(10) == b"bye"
        assert caller.recv(10) == b""


def test_delayed_bytes_arrive_whole(proxy: Proxy) -> None:
    with connect(proxy) as caller:
        proxy.begin(lambda: Delay(random.Random(1)))
        assert ask(caller, b"slow") == b"SLOW"


@pytest.mark.parametrize("ways", [{UP}, {DOWN}, {UP, DOWN}])
@pytest.mark.parametrize("cut", [False, True])
def test_a_black_hole_swallows_until_it_heals(proxy: Proxy, ways: set[str], cut: bool) -> None:
    with connect(proxy) as caller:
        assert ask(caller, b"a") == b"A"
        proxy.begin(lambda: Hole(frozenset(ways)))
        caller.sendall(b"b")
        caller.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            caller.recv(1)
        caller.settimeout(ANSWER_S)
        proxy.heal(cut=cut)
        if cut:
            with pytest.raises(ConnectionResetError):
                caller.recv(1)
        else:
            assert caller.recv(1) == b"B"


def test_a_cut_resets_old_connections_and_new_ones(proxy: Proxy) -> None:
    with connect(proxy) as caller:
        assert ask(caller, b"a") == b"A"
        proxy.begin(Cut)
        with pytest.raises(ConnectionResetError):
            caller.recv(1)
        with pytest.raises(ConnectionError):
            hang_up(connect(proxy))
    proxy.heal()
    with connect(proxy) as caller:
        assert ask(caller, b"b") == b"B"


def test_a_half_closed_connection_hears_the_end_and_new_ones_work(proxy: Proxy) -> None:
    with connect(proxy) as down, connect(proxy) as up:
        assert ask(down, b"a") == ask(up, b"a") == b"A"
        proxy.begin(lambda: HalfClose(DOWN))
        assert down.recv(1) == b""
        down.sendall(b"nobody answers")
        with connect(proxy) as later:
            assert ask(later, b"b") == b"B"
            proxy.begin(lambda: HalfClose(UP))
            assert later.recv(10) == b"bye"
    proxy.heal()


def test_what_was_forgotten_swallows_and_is_reset_in_the_end(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert ask(old, b"a") == b"A"
        proxy.begin(Forgotten)
        old.sendall(b"b")
        with connect(proxy) as new:
            assert ask(new, b"c") == b"C"
            proxy.heal()
            with pytest.raises(ConnectionResetError):
                old.recv(1)
            assert ask(new, b"d") == b"D"


def test_a_busy_store_answers_503_though_the_body_is_still_coming(proxy: Proxy) -> None:
    proxy.begin(Busy)
    with connect(proxy) as caller:
        caller.sendall(b"PUT /bucket/key HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1_000)
        assert caller.recv(100_000).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        caller.sendall(b"x" * 10_000)
    proxy.heal()
    with connect(proxy) as caller:
        assert ask(caller, b"a") == b"A"


def test_half_of_an_upload_arrives(proxy: Proxy) -> None:
    proxy.begin(Half)
    with connect(proxy) as caller:
        assert ask(caller, b"HEAD / HTTP/1.1\r\n\r\n") == b"HEAD / HTTP/1.1\r\n\r\n"
        head = b"PUT /KEY HTTP/1.1\r\nCONTENT-LENGTH: 1000\r\n\r\n"
        caller.sendall(head)
        assert caller.recv(1_000) == head
        caller.sendall(b"x" * 1_000)
        answer = caller.recv(1_000)
        assert answer == b"X" * 500
        with pytest.raises(ConnectionResetError):
            caller.recv(1)


def test_a_rule_may_change_what_passes(proxy: Proxy) -> None:
    class Other(Rule):
        async def up(self, link: object, data: bytes) -> bytes:
            return data[::-1]

    proxy.begin(Other)
    with connect(proxy) as caller:
        assert ask(caller, b"abc") == b"CBA"
