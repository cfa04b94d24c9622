"""A web page on this machine alone: drop cells, see what the networks say of them, and where they look.

The standard library's server, and no other package: one person uses it, it listens on 127.0.0.1 only, a file is the
plain body of a request (nothing to parse), and it is up before a framework would be imported. It guards against the
pages that the same browser has open elsewhere: the Host header must be this machine's (DNS rebinding), a request of
another origin is refused, and a Content-Security-Policy keeps the page from asking anyone else for anything.
"""

import json
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import parse_qs, urlsplit

import tyro

from contract.errors import UserError
from evaluate.cell_image import MAXIMUM_BYTES, open_cell
from evaluate.classify import Networks, classify
from evaluate.pretrained import open_or_pretrained
from evaluate.web_page import describe_image, describe_networks

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PATIENCE = 60  # seconds that the page waits for the networks before it asks again
DIGITS = 20  # of a length: Python turns no number of thousands of digits into an int
AT_ONCE = 2  # images decoded and classified side by side: memory stays bounded
IN_MEMORY = 2**20  # bytes of a body on its way; the rest of a larger one waits in a file that has no name
CHUNK = 2**16  # bytes


@dataclass(frozen=True)
class Web:
    """Serve a page on this machine where cells are dropped and every exported network answers; Ctrl-C ends it."""

    artifacts: Path = Path("artifacts")  # folder of the exported networks
    shards: tyro.conf.UseAppendAction[tuple[Path, ...]] = (Path("shards"),)  # their training cells: images are compared
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core
    int8: bool = False  # take model.int8.onnx of every network
    port: int = 8765  # of 127.0.0.1; 0 takes a free one


class Server(ThreadingHTTPServer):
    """Answers at once; a request that needs the networks waits until they are open."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, port: int) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.networks: Future[Networks] = Future()
        self.work = threading.Semaphore(AT_ONCE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no fault; anything else is ours and keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def hosts(self) -> tuple[str, str]:
        """What the Host header may say."""
        return f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}"


def web(command: Web) -> None:
    """Serve until Ctrl-C or SIGTERM; raises ``UserError`` when the port is taken or a network cannot be opened."""
    began = time.perf_counter()
    try:
        server = Server(command.port)
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {command.port}: cannot listen on {ADDRESS}: {error}") from None
    with server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            print(f"http://{ADDRESS}:{server.server_port}/  (nothing leaves this machine; Ctrl-C ends it)", flush=True)
            found = open_or_pretrained(command.artifacts, command.shards, command.device, command.workers, command.int8)
            server.networks.set_result(found)
            seconds = time.perf_counter() - began
            print(f"{', '.join(found.predictors)} ready after {seconds:.1f} s", flush=True)
            serving.join()
        except KeyboardInterrupt:
            print("ended")
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "leukoshard"
    sys_version = ""
    timeout = 30  # seconds that a silent connection is kept

    def do_GET(self) -> None:
        if not self._is_ours():
            return
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body that is not read must not be taken for the next request
        path = urlsplit(self.path).path
        if path in FILES:
            name, kind = FILES[path]
            self._answer(HTTPStatus.OK, (PAGE / name).read_bytes(), kind)
        elif path == "/networks":
            self._answer_networks()
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {path} here")

    def do_POST(self) -> None:
        if not self._is_ours():
            return
        url = urlsplit(self.path)
        length, *others = self.headers.get_all("Content-Length", [""])
        if url.path != "/classify":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {url.path} here")
        elif not length.isdecimal() or others or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "an image must come with its length")
        elif len(length) > DIGITS or int(length) > MAXIMUM_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length[:DIGITS]} bytes: at most {MAXIMUM_BYTES} are read"
            )
        else:
            name = parse_qs(url.query).get("name", ["image"])[0][:200]
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
                if self._receive(int(length), body, name):
                    body.seek(0)
                    with self.server.work:
                        self._classify(body.read(), name)

    def _receive(self, length: int, body: IO[bytes], name: str) -> bool:
        """Read a request's body before its turn comes: a client that stalls must keep nobody else waiting."""
        while length and (part := self.rfile.read(min(length, CHUNK))):
            try:
                body.write(part)
            except OSError as error:
                why = f"{name}: the disk has no room to read it: {error.strerror}"
                self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, why)
                return False
            length -= len(part)
        return True

    def _classify(self, data: bytes, name: str) -> None:
        try:
            answer = describe_image(classify(open_cell(data, name), self.server.networks.result(), name))
        except UserError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), close=False)
        except Exception:  # a defect of ours: the page says so, the terminal says where
            traceback.print_exc(file=sys.stderr)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{name}: this program failed; its terminal says where")
        else:
            self._answer_json(HTTPStatus.OK, answer)

    def _answer_networks(self) -> None:
        """The answer comes when the networks are open: nobody has to ask twice."""
        try:
            self._answer_json(HTTPStatus.OK, describe_networks(self.server.networks.result(PATIENCE)))
        except TimeoutError:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the networks are being opened", close=False)

    def _is_ours(self) -> bool:
        """Refuse what another site's page sent here through this browser."""
        hosts = self.server.hosts
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        if not self.path.startswith("/"):  # a proxy's request, or no address at all
            self._refuse(HTTPStatus.BAD_REQUEST, "an address here begins with /")
        elif self.headers.get("Host") not in hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to its own address only")
        elif origin not in (None, *(f"http://{host}" for host in hosts)) or site not in ("none", "same-origin"):
            self._refuse(HTTPStatus.FORBIDDEN, "this server answers to its own page only")
        else:
            return True
        return False

    def _refuse(self, status: HTTPStatus, message: str, close: bool = True) -> None:
        """``close`` where the request's body was not read: it must not be taken for the next request."""
        self.close_connection = self.close_connection or close
        self._answer_json(status, {"error": " ".join(message.split())})

    def _answer_json(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        self._answer(status, json.dumps(answer, ensure_ascii=False).encode(errors="replace"), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of what a person looked at."""
