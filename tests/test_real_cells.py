"""Real cells where they lie beside the repository: what a download looks like, not only what we can draw."""

import subprocess
import sys
from pathlib import Path

import pytest

from build_shards.dataset import read_dataset
from build_shards.preprocess import cell_mask
from build_shards.shards import build
from contract.recipe import Recipe
from contract.shard_reader import SplitReader

UNPACK = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "unpack.py"
LIMIT = 12

pytestmark = pytest.mark.skipif(not UNPACK.is_file(), reason="the real cells (../shared/data) are not here")


@pytest.mark.parametrize(
    ("layout", "samples"),
    [("course", {"train": LIMIT, "valid": LIMIT, "test": LIMIT, "external": LIMIT}), ("archive", None)],
)
def test_shards_are_built_of_real_cells_in_both_layouts(tmp_path: Path, layout: str, samples: dict[str, int] | None):
    command = [sys.executable, str(UNPACK), str(tmp_path / "data"), "--layout", layout, "--limit", str(LIMIT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    manifest, _ = build(read_dataset(tmp_path / "data"), Recipe(), tmp_path / "shards", workers=1, force=False)
    counts = {split.name: split.samples for split in manifest.splits}
    assert manifest.layout == layout
    assert sum(counts.values()) == len(list((tmp_path / "data").rglob("*.bmp")))
    assert samples is None or counts == samples
    for split in counts:
        reader = SplitReader(tmp_path / "shards", manifest, split)
        for position in range(len(reader)):
            assert 0.05 < cell_mask(reader.image(position)).mean() < 0.95
