"""The web page in a real browser (headless Chromium): drop cells, read verdicts, drop a text file, read the error."""

import base64
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from evaluate.classify import open_networks
from evaluate.web import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# In CI a missing browser is a fault: .ci/run installs it.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium on PATH (Debian: apt-get install chromium)"
)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PHONE = {"width": 390, "height": 844}
REFUSED = "status of 422"  # as a browser tells of an image that was refused


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "CI without a Chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(three: Path, shards: Path) -> Iterator[str]:
    with Server(0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        server.networks.set_result(open_networks(three, (shards,), "cpu", 1, int8=False))
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, open and ready; whatever it asks of another machine, and every error of its own, fails the test.

    But for refused images and, of a test that names one as the parameter of this fixture, a fault that it makes itself.
    """
    own = (REFUSED, getattr(request, "param", REFUSED))
    with browser.new_context(viewport={"width": 1100, "height": 900}) as context:
        opened, asked, errors = context.new_page(), [], []
        opened.set_default_timeout(60_000)
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("console", lambda m: errors.append(m.text) if all(words not in m.text for words in own) else None)
        opened.goto(address)
        expect(opened.get_by_text("3 networks ready")).to_be_visible(timeout=60_000)
        yield opened
        assert not errors
        assert len(asked) > 3
        assert all(url.startswith((address, "data:image/png;base64,")) for url in asked)


def _drop(page: Page, *files: Path) -> None:
    """Drag files from a file manager and let them go in the middle of the page."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 300, "data": data})


def test_three_cells_three_verdicts_and_a_text_file(page: Page, synthetic_data: Path, tmp_path: Path) -> None:
    cells = [synthetic_data / "synthetic" / "valid" / f"{number}.bmp" for number in (0, 1, 2)]
    _drop(page, *cells)
    expect(page.get_by_text("3 images classified.")).to_be_visible(timeout=60_000)
    articles = page.get_by_role("article")
    expect(articles).to_have_count(3)
    for number in (0, 1, 2):
        article = page.get_by_role("article", name=f"{number}.bmp")
        expect(
            article.get_by_role("row", name=re.compile(r"^ensemble (blast|normal) \d+\.\d % \d+ ms$"))
        ).to_be_visible()
        rows = article.get_by_role("row").all_inner_texts()
        assert [row.split()[0] for row in rows[1:]] == ["resnet18", "resnet50", "resnet152", "ensemble"]
        assert all(row.split()[1] in ("blast", "normal") and "%" in row for row in rows[1:])
        expect(article.get_by_role("img")).to_have_count(4)
        for picture in article.get_by_role("img").all():
            assert f"{number}.bmp" in str(picture.get_attribute("alt"))
    notes = tmp_path / "notes.txt"
    notes.write_text("not a cell")
    _drop(page, notes)
    expect(page.get_by_role("alert")).to_have_text("notes.txt: not a BMP, PNG or JPEG image (10 bytes)")
    expect(page.get_by_text("3 images classified, 1 refused.")).to_be_visible()


def _pixel(value: int) -> str:
    return (
        "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", np.full((1, 1), value, np.uint8))[1]).decode()
    )


def test_every_number_and_picture_of_the_answer_stands_in_its_place(page: Page, synthetic_data: Path) -> None:
    names, thresholds, verdicts = ("resnet18", "resnet50", "resnet152", "ensemble"), (0.5, 0.25, 0.75, 0.125), "0110"
    opinions = [
        {
            "network": name,
            "label": int(label),
            "verdict": ("normal", "blast")[int(label)],
            "probability": probability,
            "threshold": threshold,
            "milliseconds": milliseconds,
            "map": None if name == "ensemble" else _pixel(50 + number),
        }
        for number, (name, label, probability, threshold, milliseconds) in enumerate(
            zip(names, verdicts, (0.0626, 0.9996, 0.51, 0.1), thresholds, (10.4, 20.6, 300.0, 331.0), strict=True)
        )
    ]
    told = [{"kind": "size", "text": "size: small"}, {"kind": "stain", "text": "stain: blue"}]
    answer = {"crop": _pixel(9), "classes": ["hem", "all"], "milliseconds": 1.0, "concerns": told, "opinions": opinions}
    page.route("**/classify*", lambda route: route.fulfill(json=answer))
    page.set_input_files("#files", synthetic_data / "synthetic" / "valid" / "0.bmp")
    expect(page.locator("#news")).to_have_text("1 image classified. 0.bmp: normal, says the ensemble.", timeout=60_000)
    article = page.get_by_role("article")
    assert [" ".join(row.split()) for row in article.get_by_role("row").all_inner_texts()] == [
        "network verdict P(all) time",
        "resnet18 normal 6.3 % 10 ms",
        "resnet50 blast 100.0 % 21 ms",
        "resnet152 blast 51.0 % 300 ms",
        "ensemble normal 10.0 % 331 ms",
    ]
    assert " ".join(article.locator(".head").inner_text().split()) == "0.bmp normal ensemble, P(all) 10.0 %"
    assert article.get_by_role("listitem").all_inner_texts() == ["size: small", "stain: blue"]
    lengths = {"fill": ("width", [6.3, 100, 51, 10]), "tick": ("left", [50, 25, 75, 12.5])}
    for kind, (side, shares) in lengths.items():
        found = article.locator(f".{kind}").evaluate_all(f"all => all.map((one) => parseFloat(one.style.{side}))")
        assert found == shares
    for number, label in enumerate(verdicts):
        expect(article.locator(".track").nth(number)).to_have_class(f"track label-{label}")
    pictures = [
        (figure.inner_text().strip(), figure.get_by_role("img")) for figure in article.get_by_role("figure").all()
    ]
    assert [(words, picture.get_attribute("src")) for words, picture in pictures] == [
        ("as the networks see it", _pixel(9)),
        *((name, _pixel(50 + number)) for number, name in enumerate(names[:3])),
    ]
    assert pictures[2][1].get_attribute("alt") == "Where resnet50 looks in 0.bmp; its verdict is blast"


def test_a_name_is_never_markup(page: Page, synthetic_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.bmp"
    shutil.copy(synthetic_data / "synthetic" / "valid" / "0.bmp", path)
    page.set_input_files("#files", path)
    expect(page.get_by_role("heading", name=path.name)).to_be_visible(timeout=60_000)
    assert page.locator("img[src='x']").count() == 0


def test_the_keyboard_reaches_everything(page: Page, synthetic_data: Path) -> None:
    page.keyboard.press("Tab")
    expect(
        page.get_by_role("button", name="Choose images or drop them anywhere on this page", exact=True)
    ).to_be_focused()
    page.set_input_files("#files", synthetic_data / "synthetic" / "valid" / "0.bmp")
    spoken = page.get_by_role("status").filter(has_text="1 image classified.")  # what a screen reader says
    expect(spoken).to_have_text(
        re.compile(r"1 image classified. 0.bmp: (blast|normal), says the ensemble."), timeout=60_000
    )
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Clear")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("trained on", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Clear").press("Enter")
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.locator("#files")).to_be_focused()
    assert page.get_by_role("alert").count() == 0


def test_a_large_file_is_refused_before_it_is_sent(page: Page, tmp_path: Path) -> None:
    with (tmp_path / "disk.bmp").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    _drop(page, tmp_path / "disk.bmp")
    expect(page.get_by_role("alert")).to_contain_text("at most 16777216 are read")
    assert "POST" not in sent


def test_an_answer_to_what_was_cleared_counts_for_nothing(page: Page, synthetic_data: Path) -> None:
    cells = [synthetic_data / "synthetic" / "valid" / f"{number}.bmp" for number in (0, 1)]
    waiting: list[Route] = []
    page.route("**/classify*", lambda route: waiting.append(route))  # playwright takes no bound built-in
    page.set_input_files("#files", cells[0])
    expect(page.get_by_role("button", name="Clear")).to_be_visible()
    page.wait_for_function("document.querySelector('#news').textContent.startsWith('Classifying')")
    while not waiting:
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Clear").click()
    with page.expect_response("**/classify*"):
        waiting[0].continue_()
    page.unroute("**/classify*")
    page.wait_for_timeout(200)
    expect(page.locator("#news")).to_have_text("Cleared.")
    page.set_input_files("#files", cells[1])
    expect(page.get_by_text("1 image classified.")).to_be_visible(timeout=60_000)
    assert page.get_by_role("article").count() == 1


@pytest.mark.parametrize("page", ["net::ERR_FAILED"], indirect=True)
def test_the_end_of_the_program_is_told_and_its_return_too(page: Page, synthetic_data: Path) -> None:
    cell, state = synthetic_data / "synthetic" / "valid" / "0.bmp", page.locator("#state")
    ended = "no answer: has the program in the terminal ended?"
    expect(state).to_have_class("state ready", timeout=60_000)
    page.route("**/classify*", lambda route: route.abort())
    page.set_input_files("#files", cell)
    expect(page.get_by_role("alert")).to_have_text(f"0.bmp: {ended}")
    expect(page.locator("#news")).to_have_text("0 images classified, 1 not answered.")
    expect(state).to_have_class("state failed")
    expect(state).to_have_text(ended)
    page.unroute("**/classify*")
    page.set_input_files("#files", [])
    page.set_input_files("#files", cell)
    expect(page.get_by_text("1 image classified, 1 not answered.")).to_be_visible(timeout=60_000)
    expect(state).to_have_class("state ready")
    expect(state).to_contain_text("3 networks ready")
    assert page.get_by_role("article").count() == 2


def test_a_folder_is_named_as_one(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    _drop(page, tmp_path / "cells")
    expect(page.get_by_role("alert")).to_have_text("cells: cannot be read: a folder, or changed since it was chosen")
    assert page.get_by_role("article").count() == 1  # it is named there


def test_a_phone_shows_the_whole_width(page: Page, synthetic_data: Path) -> None:
    page.set_viewport_size(PHONE)
    page.set_input_files("#files", synthetic_data / "synthetic" / "valid" / "0.bmp")
    expect(page.get_by_text("1 image classified.")).to_be_visible(timeout=60_000)
    for role in ("article", "table"):
        box = page.get_by_role(role).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
