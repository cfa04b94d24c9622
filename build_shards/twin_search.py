"""The search for twins, kept on disk: six builds of the same images search once.

A kept search is named after everything that decides its result: the bytes and paths of all images, the code that
searches, and the libraries that compute. So it is used for these images alone and never after a change of any of
them; one that is cut or altered is searched anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from build_shards import fingerprint as fingerprint_module
from build_shards import image_file, preprocess, twins
from build_shards.dataset import Cell
from build_shards.fingerprint import Fingerprint, fingerprint
from build_shards.pool import map_in_order
from build_shards.sources import source_sha256
from build_shards.twins import Chance, Match, find_twins
from contract.errors import UserError
from contract.files import read_text
from contract.publish import file_sha256, publish_text, text_sha256
from contract.record import from_json, to_json


@dataclass(frozen=True)
class TwinSearch:
    """All pairs of twins among some images, by their position in the order of the source paths."""

    matches: tuple[Match, ...]
    chance: Chance


@dataclass(frozen=True)
class _Kept:
    """A search as it lies in its file."""

    key: str
    sha256: str  # of the search's own JSON
    search: TwinSearch


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """``cells`` in the order that a search counts them in."""
    return sorted(cells, key=lambda cell: cell.source)


def search_twins(cells: Sequence[Cell], workers: int, cache: Path | None, skip_bad: bool = False) -> TwinSearch:
    """Twins among the images of ``cells``, from ``cache`` where the very same search lies there.

    Raises ``UserError`` naming the file for an image that cannot be read, unless ``skip_bad``: then it has no twins.
    """
    cells = in_order(cells)
    files = [cell.file for cell in cells]
    if cache is not None and any(cache.glob("twins-*.json")):
        hashes = list(map_in_order(_hash, files, workers, chunk=32))
        kept = _load(cache, _key(cells, hashes))
        if kept is not None:
            return kept
    found = map_in_order(_fingerprint_or_none if skip_bad else fingerprint, files, workers, chunk=32)
    prints = list(tqdm(found, total=len(cells), unit="cell", desc="people", disable=None))
    return compare_prints(cells, prints, workers, cache)


def compare_prints(
    cells: Sequence[Cell], prints: Sequence[Fingerprint | None], workers: int, cache: Path | None
) -> TwinSearch:
    """Twins among images whose fingerprints (None for an unreadable one) are at hand; both in ``in_order``."""
    key = _key(cells, [_hash(c.file) if p is None else p.sha256 for c, p in zip(cells, prints, strict=True)])
    kept = _load(cache, key)
    if kept is not None:
        return kept
    places = [i for i, p in enumerate(prints) if p is not None]
    found, chance = find_twins([p for p in prints if p is not None], workers)
    moved = (Match(places[m.first], places[m.second], m.correlation, m.turns, m.identical) for m in found)
    search = TwinSearch(tuple(moved), chance)
    if cache is not None:
        kept_text = to_json(_Kept(key, text_sha256(to_json(search)), search))
        publish_text(_path(cache, key), kept_text)
    return search


def _key(cells: Sequence[Cell], hashes: Sequence[str]) -> str:
    code = [file_sha256(Path(str(module.__file__))) for module in (twins, fingerprint_module, image_file, preprocess)]
    lines = [version("opencv-python"), version("numpy"), *code]
    lines += [f"{cell.source}\t{sha256}" for cell, sha256 in zip(cells, hashes, strict=True)]
    return text_sha256("\n".join(lines))


def _path(cache: Path, key: str) -> Path:
    return cache / f"twins-{key[:16]}.json"


def _load(cache: Path | None, key: str) -> TwinSearch | None:
    """The search kept under ``key``, when it is there and whole."""
    if cache is None:
        return None
    path = _path(cache, key)
    try:
        kept = from_json(_Kept, read_text(path), str(path))
    except UserError:
        return None
    whole = kept.key == key and kept.sha256 == text_sha256(to_json(kept.search))
    return kept.search if whole else None


def _hash(file: Path) -> str:
    """Runs in a worker process."""
    return source_sha256(file) or "unreadable"


def _fingerprint_or_none(file: Path) -> Fingerprint | None:
    """Runs in a worker process."""
    try:
        return fingerprint(file)
    except UserError:
        return None
