"""Which of several folders of shards an export is calibrated on."""

import dataclasses
from pathlib import Path

from build_shards.dataset import read_dataset
from build_shards.shards import build
from contract.manifest import Manifest
from contract.model_card import ModelCard
from contract.recipe import Recipe
from export.source import open_cells


def test_a_network_s_own_shards_are_found_among_several(
    shards: Path, card: ModelCard, manifest: Manifest, synthetic_data: Path, tmp_path: Path
) -> None:
    other, _ = build(read_dataset(synthetic_data), Recipe(size=33), tmp_path / "other", workers=1, force=False)
    folders = (tmp_path / "nowhere", tmp_path / "other", shards)
    found = open_cells(folders, card)
    assert found is not None
    assert found.valid.folder == shards
    assert (found.valid.size, len(found.train)) == (40, manifest.split("train").samples)
    theirs = open_cells(folders, dataclasses.replace(card, manifest_digest=other.digest))
    assert theirs is not None
    assert theirs.valid.folder == tmp_path / "other"
    assert open_cells(folders[:2], card) is None
