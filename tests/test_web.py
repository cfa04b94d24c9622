"""The web page's server: what it answers, what it refuses, and that nothing but this machine's own page is served."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from two_networks import write_network

from contract.errors import UserError
from contract.model_card import ModelCard
from evaluate import web as module
from evaluate.cell_image import MAXIMUM_BYTES, read_cell
from evaluate.classify import classify, open_networks
from evaluate.web import Server, Web, web

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def unlike(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three exported networks that speak differently. Read only."""
    folder = tmp_path_factory.mktemp("unlike")
    for seed, arch in enumerate(("resnet18", "resnet50", "resnet152")):
        write_network(folder, replace(card, arch=arch), seed)
    return folder


@pytest.fixture(scope="module")
def server(unlike: Path, shards: Path) -> Iterator[Server]:
    """A running server with three networks."""
    with Server(0) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        running.networks.set_result(open_networks(unlike, (shards,), "cpu", 1, int8=False))
        yield running
        running.shutdown()


@pytest.fixture
def cell(synthetic_data: Path) -> Path:
    return synthetic_data / "synthetic" / "valid" / "1.bmp"


def _ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def _classify(server: Server, data: bytes, name: str = "cell.bmp", **headers: str) -> tuple[int, dict[str, Any]]:
    response, content = _ask(server, "POST", f"/classify?name={name}", data, **headers)
    return response.status, json.loads(content)


def test_an_image_is_answered_with_every_network_and_the_ensemble(server: Server, cell: Path) -> None:
    status, answer = _classify(server, cell.read_bytes())
    assert status == 200
    expected = classify(read_cell(cell), server.networks.result(), "cell")
    assert [o["network"] for o in answer["opinions"]] == ["resnet18", "resnet50", "resnet152", "ensemble"]
    for opinion, known in zip(answer["opinions"], [*expected.opinions.values(), expected.ensemble], strict=True):
        assert opinion["probability"] == pytest.approx(known.probability, abs=1e-6)
        assert (opinion["label"], opinion["verdict"]) == (known.label, known.name)
        assert (opinion["map"] is None) == (opinion["network"] == "ensemble")
    assert len({opinion["probability"] for opinion in answer["opinions"]}) == 4
    assert answer["crop"].startswith("data:image/png;base64,")
    assert answer["concerns"] == [{"kind": c.kind, "text": c.text} for c in expected.concerns]


def test_the_cards_of_the_networks_are_told(server: Server) -> None:
    response, content = _ask(server, "GET", "/networks")
    answer = json.loads(content)
    assert response.status == 200
    assert [network["network"] for network in answer["networks"]] == ["resnet18", "resnet50", "resnet152"]
    rows = dict(answer["networks"][1]["rows"])
    assert rows["file"].startswith("resnet50/model.onnx, SHA-256 ")
    assert "40 × 40 px" in rows["sees"]
    assert "(not calibrated)" in rows["temperature"]
    assert "synthetic" in answer["dataset"]
    assert "not a medical device" in answer["intended_use"]


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/icon.svg", "/networks", "/nowhere"])
def test_every_answer_forbids_other_sources(server: Server, path: str) -> None:
    response, _ = _ask(server, "GET", path)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.status == (404 if path == "/nowhere" else 200)


def test_the_page_names_nothing_outside_itself() -> None:
    for file in module.PAGE.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]|innerHTML|eval\(|style=", text), file


@pytest.mark.parametrize("path", ["/../web.py", "/page/../../pyproject.toml", "/%2e%2e/web.py", "//etc/passwd"])
def test_no_other_file_is_served(server: Server, path: str) -> None:
    assert _ask(server, "GET", path)[0].status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # DNS rebinding: the name of another site, the address of this machine
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),  # another port of this machine
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_sites_are_refused(server: Server, headers: dict[str, str], status: int) -> None:
    filled = {name: value.format(port=server.server_port) for name, value in headers.items()}
    assert _classify(server, b"no image", **filled)[0] == (422 if status == 200 else status)
    assert _ask(server, "GET", "/", **filled)[0].status == status


@pytest.mark.parametrize("address", ["http://[", "http://[::1/", "classify"])
def test_an_address_that_is_none_is_answered(server: Server, address: str) -> None:
    host = f"127.0.0.1:{server.server_port}"
    assert _ask(server, "GET", address, Host=host)[0].status == 400
    assert _ask(server, "POST", address, b"no image", Host=host)[0].status == 400


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a BMP, PNG or JPEG image"),
        (b"some text", "not a BMP, PNG or JPEG image"),
        (b"BM" + bytes(60), "not an uncompressed"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cut short or damaged"),
    ],
)
def test_a_wrong_file_gets_a_message(server: Server, data: bytes, words: str) -> None:
    status, answer = _classify(server, data, "notes%3Cb%3E.txt")
    assert status == 422
    assert words in answer["error"]
    assert answer["error"].startswith("notes<b>.txt: ")


def test_an_image_without_a_cell_gets_a_message(server: Server) -> None:
    ok, black = cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))
    assert ok
    assert _classify(server, black.tobytes())[1]["error"].startswith("cell.bmp: all background")


def test_a_length_that_is_too_large_or_missing_is_refused_before_a_byte_is_read(server: Server) -> None:
    both = "Content-Length: 4\r\nTransfer-Encoding: chunked"  # two lengths for one body
    for header, status in (
        (f"Content-Length: {MAXIMUM_BYTES + 1}", 413),
        (f"Content-Length: {'9' * 5000}", 413),  # Python makes no number of so many digits
        ("Transfer-Encoding: chunked", 411),
        (both, 411),
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
            host = f"Host: 127.0.0.1:{server.server_port}"
            connection.sendall(f"POST /classify HTTP/1.1\r\n{host}\r\n{header}\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):  # it ends: the connection is closed, the body is not waited for
                answer += part
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Connection: close" in answer


def test_a_defect_is_told_as_one_and_the_server_lives_on(
    server: Server, cell: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "classify", lambda *_: 1 / 0)
        status, answer = _classify(server, cell.read_bytes())
    assert status == 500
    assert "its terminal says where" in answer["error"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert _classify(server, cell.read_bytes())[0] == 200


def test_the_page_is_up_before_the_networks_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with Server(0) as waiting:
        threading.Thread(target=waiting.serve_forever, args=(0.05,), daemon=True).start()
        assert _ask(waiting, "GET", "/")[0].status == 200
        assert _ask(waiting, "GET", "/networks")[0].status == 503
        waiting.shutdown()


def test_the_command_tells_its_address_answers_and_ends_on_ctrl_c(unlike: Path, shards: Path) -> None:
    command = [sys.executable, "-m", "evaluate", "web", "--artifacts", unlike, "--shards", shards, "--port", "0"]
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.fullmatch(
            r"http://127\.0\.0\.1:(\d+)/  \(nothing leaves this machine.*\)\n", process.stdout.readline()
        )
        assert found
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/networks", timeout=60) as answer:
            assert len(json.loads(answer.read())["networks"]) == 3
        assert re.fullmatch(r"resnet18, resnet50, resnet152 ready after \d+\.\d s\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "ended\n"
        assert process.wait(30) == 0


def test_a_taken_port_and_missing_networks_are_mistakes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluate.pretrained.FOLDER", tmp_path / "nothing")
    with pytest.raises(UserError, match=rf"--port {server.server_port}: cannot listen"):
        web(Web(port=server.server_port))
    with pytest.raises(UserError, match="--port 70000"):
        web(Web(port=70000))
    with pytest.raises(UserError, match="no exported network"):
        web(Web(artifacts=tmp_path, port=0))
