"""A server on a bare socket, for answers that no HTTP server would give."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_REST = b'"status": 202, "message": "queued"}'
_HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % (len(_REST) + 1)


@contextlib.contextmanager
def dawdling(seconds: float) -> Iterator[tuple[str, Callable[[], int]]]:
    """Answer with a pause before the head, in the body, and before its rest, which never comes.

    Yields the URL, and a function that tells how many connections there were.
    """
    over = threading.Event()
    handlers: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in (_HEAD, b"{", _REST[:1]):
                over.wait(seconds)
                connection.sendall(piece)
            over.wait(30)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                handler = threading.Thread(target=answer, args=(listener.accept()[0],))
                handlers.append(handler)
                handler.start()

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: len(handlers)
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (server, *handlers):
            thread.join()
