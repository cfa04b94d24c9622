"""The benchmark of the page's start leaves no page behind."""

import io
import urllib.error
from typing import Any

import pytest

from benchmarks import web_start


class _Page:
    """A page's process, at an address where nobody answers."""

    ended = False

    def __init__(self, *_: Any, **__: Any) -> None:
        self.stdout = io.StringIO("http://127.0.0.1:1/  (nothing leaves this machine; Ctrl-C ends it)\n")

    def __enter__(self) -> "_Page":
        return self

    def __exit__(self, *_: object) -> None:
        """As of a real one: waits until it has ended."""
        assert _Page.ended

    def terminate(self) -> None:
        _Page.ended = True


def test_a_page_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.web_start.subprocess.Popen", _Page)
    with pytest.raises(urllib.error.URLError):
        web_start._start(web_start.Benchmark())
