"""Every fault of a source file through a whole build: an error that names it or, by --skip-bad, a line of a list."""

import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from build_shards.dataset import read_dataset
from build_shards.shards import build
from build_shards.sources import SKIPPED
from build_shards.verify import verify
from contract.errors import UserError
from contract.manifest import Manifest
from contract.recipe import Recipe
from contract.shard_reader import SplitReader

SMALL = Recipe(size=33, window=40)


def build_small(data: Path, folder: Path, **options: bool) -> Manifest:
    return build(read_dataset(data), SMALL, folder, workers=1, force=False, **options)[0]


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


def cell(side: int = 40) -> np.ndarray:
    return np.random.default_rng(side).integers(1, 256, (side, side, 3), dtype=np.uint8)


def with_sides(data: bytes, width: int, height: int) -> bytes:
    """The same file with other sides in its header; a PNG's header gets its checksum again."""
    changed = bytearray(data)
    if data[:2] == b"BM":
        struct.pack_into("<ii", changed, 18, width, height)
    else:
        struct.pack_into(">II", changed, 16, width, height)
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def bmp_of_16_bits() -> bytes:
    pixels = cell().astype("<u2").tobytes()[: 40 * 40 * 2]
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54 + len(pixels), 0, 0, 54, 40, 40, 40, 1, 16, *[0] * 6)
    return header + pixels


BMP, PNG = encoded(cell(), ".bmp"), encoded(cell(), ".png")
CUTS = [1, 2, 13, 14, 17, 18, 26, 53, 54, 55, 57, 1000, len(BMP) // 2, len(BMP) - 3, len(BMP) - 1]
FAULTS: dict[str, tuple[bytes, str]] = {
    **{f"BMP cut at {length}": (BMP[:length], "cut short|not a BMP or PNG") for length in CUTS},
    **{f"PNG cut at {length}": (PNG[:length], "cut short|not a BMP or PNG") for length in (7, 8, 30, 40, 2000)},
    "zero bytes": (b"", r"not a BMP or PNG image \(0 bytes\)"),
    "zeros": (bytes(len(BMP)), "not a BMP or PNG image"),
    "wrong magic": (b"XX" + BMP[2:], "not a BMP or PNG image"),
    "text": (b"Path,label\n./cells/0.bmp,0\n", "not a BMP or PNG image"),
    "JPEG": (encoded(cell(), ".jpg"), "not a BMP or PNG image"),
    "4 channels, BMP": (encoded(np.dstack([cell(), cell()[:, :, 0]]), ".bmp"), "not an uncompressed 8-bit 3-channel"),
    "4 channels, PNG": (encoded(np.dstack([cell(), cell()[:, :, 0]]), ".png"), "not an 8-bit 3-channel PNG"),
    "1 channel": (encoded(cell()[:, :, 0], ".bmp"), "not an uncompressed 8-bit 3-channel"),
    "16 bits, BMP": (bmp_of_16_bits(), "not an uncompressed 8-bit 3-channel BMP .it has 16 bits"),
    "16 bits, PNG": (encoded(cell().astype(np.uint16) * 257, ".png"), "not an 8-bit 3-channel PNG .depth 16"),
    "1 x 1": (encoded(cell(1), ".bmp"), "covers 1 pixels: fewer than 16 are no cell"),
    "1 x 1, black": (encoded(cell(1) * 0, ".bmp"), "all background"),
    "20,000 px, BMP": (with_sides(BMP, 20_000, 20_000), "declares 20000 x 20000 px"),
    "20,000 px, PNG": (with_sides(PNG, 20_000, 20_000), "declares 20000 x 20000 px"),
    "upside down 20,000 px": (with_sides(BMP, 20_000, -20_000), "declares 20000 x 20000 px"),
    "all black": (encoded(cell() * 0, ".bmp"), "all background"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_source_stops_the_build_or_is_listed(write_course, tmp_path: Path, fault: str):
    data, (content, rule) = write_course(), FAULTS[fault]
    (data / "cells" / "1.bmp").write_bytes(content)
    with pytest.raises(UserError, match=rf"cells/1\.bmp: .*({rule})"):
        build_small(data, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
    manifest = build_small(data, tmp_path / "shards", skip_bad=True)
    assert (manifest.skipped, manifest.split("train").samples) == (1, 2)
    header, line = (tmp_path / "shards" / SKIPPED).read_text().splitlines()
    assert header == "Path,split,reason,sha256"
    assert line.startswith(("./cells/1.bmp,train,", './cells/1.bmp,train,"'))
    verify(tmp_path / "shards")


@pytest.mark.parametrize("name", ["20,000 px, BMP", "20,000 px, PNG"])
def test_declared_sides_are_refused_before_anything_is_decoded(write_course, tmp_path: Path, name: str, monkeypatch):
    data = write_course()
    (data / "cells" / "1.bmp").write_bytes(FAULTS[name][0])
    for decoder in ("cv2.imdecode", "cv2.cvtColor", "cv2.flip", "numpy.frombuffer"):
        monkeypatch.setattr(decoder, lambda *_, **__: pytest.fail("decoded"))
    (data / "train.csv").write_text("Path,label\n./cells/1.bmp,1\n")
    with pytest.raises(UserError, match="declares 20000 x 20000 px"):
        build_small(data, tmp_path / "shards")


@pytest.mark.parametrize("crop", ["native", "box", "none"])
def test_an_image_of_one_pixel_is_no_cell_however_it_is_cropped(write_course, tmp_path: Path, crop: str):
    data = write_course()
    (data / "cells" / "1.bmp").write_bytes(FAULTS["1 x 1"][0])
    with pytest.raises(UserError, match=r"1\.bmp: the cell covers 1 pixel"):
        build(read_dataset(data), Recipe(size=33, crop=crop), tmp_path / "shards", 1, force=False)  # type: ignore[arg-type]


def test_unicode_spaces_and_commas_in_names_come_through(write_course, tmp_path: Path):
    data = write_course()
    names = ["zelle größe 1.bmp", "細胞 2.bmp", '  a, "b"\' 3.bmp', "e\u0301-é 4.bmp", "Ω’😀.bmp"]
    folder = data / "中 文" / "the cells"
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        shutil.copy(data / "cells" / f"{number}.bmp", folder / name)
    paths = [f"./中 文/the cells/{name}" for name in names]
    quoted = ['"' + path.replace('"', '""') + '"' for path in paths]
    (data / "train.csv").write_text("Path,label\n" + "".join(f"{p},{i % 2}\n" for i, p in enumerate(quoted)), "utf-8")
    renamed = data.rename(tmp_path / "Daten größe 1, “neu”")
    manifest = build_small(renamed, tmp_path / "shards of größe 細胞")
    reader = SplitReader(tmp_path / "shards of größe 細胞", manifest, "train")
    assert sorted(reader.info(i)["source"] for i in range(len(reader))) == sorted(paths)
    assert all(sample.key.isascii() for sample in reader.samples)
    verify(tmp_path / "shards of größe 細胞")
    (renamed / "中 文" / "the cells" / names[2]).write_bytes(b"BM")
    skipped = build(read_dataset(renamed), SMALL, tmp_path / "more", 1, force=False, skip_bad=True)[0]
    assert skipped.skipped == 1
    assert build(read_dataset(renamed), SMALL, tmp_path / "more", 1, force=False, skip_bad=True)[1] is False


@pytest.mark.parametrize(("split", "cells"), [("train", (0, 1, 2)), ("valid", (3, 4)), ("test", (5,))])
def test_a_split_of_which_no_cell_can_be_read_is_refused(write_course, tmp_path: Path, split: str, cells: tuple):
    data = write_course()
    for cell_number in cells:
        (data / "cells" / f"{cell_number}.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match=f"the split '{split}' has no readable cell"):
        build_small(data, tmp_path / "shards", skip_bad=True)
    assert not (tmp_path / "shards").exists()
