"""What the web page's server says in every answer, and that no body of a refused request becomes a request."""

import contextlib
import errno
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from contract.errors import UserError
from evaluate import web
from evaluate.cell_image import MAXIMUM_BYTES
from evaluate.web import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A running server whose networks are not open yet."""
    with Server(0) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


def _raw(server: Server, request: str) -> bytes:
    """All that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/nowhere", "", 404),
        ("/classify", "Origin: http://evil.example\r\n", 403),
        ("/classify", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("classify", "", 400),
    ],
)
def test_the_body_of_a_refused_request_is_no_request(server: Server, path: str, header: str, status: int) -> None:
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    inner = f"GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"  # closes the connection if it is answered
    request = f"POST {path} HTTP/1.1\r\n{host}{header}Content-Length: {len(inner)}\r\n\r\n{inner}"
    answer = _raw(server, request)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1 ") == 1


def test_what_an_answered_request_had_too_much_is_no_request(server: Server) -> None:
    host = f"Host: 127.0.0.1:{server.server_port}\r\n"
    inner = f"GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    length = f"Content-Length: {len(inner)}\r\n"
    for start, lengths, status in (
        ("GET /page.css", length, 200),
        ("GET /page.css", "Transfer-Encoding: chunked\r\n", 200),
        ("POST /classify", "Content-Length: 1\r\n" + length, 411),
    ):
        request = f"{start} HTTP/1.1\r\n{host}{lengths}\r\n{inner}"
        answer = _raw(server, request)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.count(b"HTTP/1.1 ") == 1


def test_an_image_of_the_largest_size_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("POST", "/classify", bytes(MAXIMUM_BYTES))
    response = connection.getresponse()
    assert response.status == 422
    assert b"not a BMP, PNG or JPEG image (16777216 bytes)" in response.read()
    connection.close()


def test_a_wrong_file_leaves_the_connection_open(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("POST", "/classify", b"no image")
    response = connection.getresponse()
    assert (response.status, response.headers["Connection"]) == (422, None)
    assert b'"error": "image: not a BMP, PNG or JPEG image' in response.read()
    connection.close()


def test_no_more_images_are_read_at_once_than_memory_has_room_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: list[int] = []

    def look(*_: object) -> None:
        held = [server.work.acquire(blocking=False) for _ in range(web.AT_ONCE + 1)]
        room.append(sum(held))  # beside this one
        server.work.release(sum(held))
        raise UserError("enough")

    monkeypatch.setattr(web, "open_cell", look)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    for _ in range(web.AT_ONCE + 1):
        connection.request("POST", "/classify", b"an image")
        assert connection.getresponse().read() == b'{"error": "enough"}'
    connection.close()
    assert room == [web.AT_ONCE - 1] * (web.AT_ONCE + 1)


def test_uploads_that_stall_keep_nobody_waiting(server: Server) -> None:
    header = f"Host: 127.0.0.1:{server.server_port}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with contextlib.ExitStack() as open_ones:
        for _ in range(web.AT_ONCE):
            stalled = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.server_port), timeout=20))
            stalled.sendall(f"POST /classify HTTP/1.1\r\n{header}".encode())
            assert stalled.recv(65536).startswith(b"HTTP/1.1 100 ")  # its body is waited for
            stalled.sendall(b"half")
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("POST", "/classify", b"no image")
        assert connection.getresponse().status == 422
        connection.close()


def test_an_image_that_finds_no_room_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("POST", "/classify?name=a.bmp", bytes(web.IN_MEMORY + 1))
    response = connection.getresponse()
    assert (response.status, response.headers["Connection"]) == (507, "close")  # the rest is no request
    assert response.read() == b'{"error": "a.bmp: the disk has no room to read it: No space left on device"}'
    connection.close()


@pytest.mark.parametrize("path", ["/", "/page.js", "/nowhere"])
def test_no_answer_may_be_framed_kept_or_read_by_others(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    headers = {
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Server": "leukoshard ",  # and no version of Python
    }
    assert {name: response.headers[name] for name in headers} == headers
    rules = (rule.split() for rule in response.headers["Content-Security-Policy"].split(";"))
    policy = {name: set(sources) for name, *sources in rules}
    assert policy.pop("img-src") == {"'self'", "data:"}
    own = {name for name, sources in policy.items() if sources == {"'self'"}}
    assert own == {"script-src", "style-src", "connect-src"}
    nobody = {name for name, sources in policy.items() if sources == {"'none'"}}
    assert nobody == {"default-src", "base-uri", "form-action", "frame-ancestors"} == policy.keys() - own
