"""The course's hand-in: one ZIP of the report and the source, after a look at everything that a hand-in needs."""

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from contract.counted import counted
from contract.errors import UserError
from contract.publish import publish_bytes
from evaluate.paper import Paper, handin_stem, paper
from evaluate.report_record import ARCHS, METRICS
from evaluate.words import read_words

ROOT = Path(__file__).resolve().parent.parent
# What the source is: nothing of shards/, artifacts/ or a virtual environment.
SOURCE = (
    *("contract", "build_shards", "train", "export", "evaluate", "tests", "benchmarks", "docs", ".ci"),
    *("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore"),
    *("requirements.txt", "requirements-dev.txt", "requirements-bench.txt"),
)
UNZIPPABLE = re.compile(r"[\x00-\x1f\ud800-\udfff]")  # in a name: line breaks and the like, bytes that are no UTF-8
FIGURES = ("accuracy.png", *(f"confusion_{arch}.png" for arch in ARCHS))


@dataclass(frozen=True)
class Handin:
    """Write DLP_LAB3_<id>_<name>.zip with the report and the source; first list everything that is missing."""

    student_id: str  # letters and digits
    name: str  # the student's, in any script; a space becomes "-" in the file's name
    words: Path = Path("docs/report")  # folder of the student's Markdown files
    artifacts: Path = Path("artifacts")  # folder of the networks and the evaluation's report
    out: Path = Path(".")  # folder to write the ZIP into
    fonts: Path | None = None  # folder of further fonts, for characters that no installed font has
    incomplete: bool = False  # write it although something is missing


def handin(command: Handin) -> Path:
    """Check, typeset the report anew, and write the ZIP; returns its path.

    Raises ``UserError`` after listing what is missing, for a name that is none, and where nothing can be written.
    """
    stem = handin_stem(command.student_id, command.name)
    missing = find_missing(command.words, command.artifacts)
    for line in missing:
        print(f"missing: {line}")
    if missing and not command.incomplete:
        raise UserError(
            f"nothing was written: {counted(len(missing), 'thing')} missing, listed above (--incomplete writes anyway)"
        )
    source = source_files(ROOT)
    report = paper(Paper(command.student_id, command.name, command.words, command.artifacts, command.fonts))
    files = {f"{stem}/report.pdf": report} | {f"{stem}/source/{name}": ROOT / name for name in source}
    publish_bytes(command.out / f"{stem}.zip", _zip(files))
    print(f"{command.out / f'{stem}.zip'}  ({len(files)} files)")
    return command.out / f"{stem}.zip"


def find_missing(words: Path, artifacts: Path) -> list[str]:
    """Everything that a hand-in needs and that is not there, each with what makes it."""
    report = artifacts / "report"
    wanted = {
        **{artifacts / arch / "best.pt": f"weights: make train ARCH={arch}" for arch in ARCHS},
        **{artifacts / arch / "history.csv": f"accuracy per epoch: make train ARCH={arch}" for arch in ARCHS},
        **{artifacts / arch / "model.onnx": "exported network: make export" for arch in ARCHS},
        report / METRICS: "numbers: python evaluate/run.py",
        **{report / f"submission_{arch}.csv": "for its board: python evaluate/run.py" for arch in ARCHS},
        **{report / name: "figure: python evaluate/run.py" for name in FIGURES},
    }
    missing = [f"{path} ({how})" for path, how in wanted.items() if not path.is_file() or not path.stat().st_size]
    if not words.is_dir():
        return [*missing, f"{words} (your words: cp -r docs/report-template {words})"]
    hint = "your words: the template's comment says what belongs there"
    return [*missing, *(f"{words / name} ({hint})" for name in read_words(words).empty)]


def source_files(root: Path) -> list[str]:
    """The source's files below ``root``, sorted, without caches and hidden files of tools.

    Raises ``UserError`` for a name with line breaks, or that is not UTF-8: out of a ZIP it comes as another, or not.
    """
    found = []
    for name in SOURCE:
        top = root / name
        found += [top] if top.is_file() else [path for path in top.rglob("*") if _is_source(path, top)]
    names = sorted(path.relative_to(root).as_posix() for path in found if not path.is_symlink())
    for name in names:
        if UNZIPPABLE.search(name):
            raise UserError(
                f"{name!a}: a file of the source has a name that no ZIP can hold: rename it, or move it away"
            )
    return names


def _is_source(path: Path, top: Path) -> bool:
    """Whether it is a file, no cache, and not hidden below ``top``, whose own name may be (.ci)."""
    hidden = any(part.startswith(".") or part.endswith("cache__") for part in path.relative_to(top).parts)
    return path.is_file() and path.suffix != ".pyc" and not hidden


def _zip(files: dict[str, Path]) -> bytes:
    """The same files give the same bytes: no times, no modes of this machine."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            executable = name.endswith(".ci/run")
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            archive.writestr(entry, files[name].read_bytes())
    return content.getvalue()
