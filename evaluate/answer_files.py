"""The CSVs that a report, or answers alone, consist of: predictions of every split, submissions of unlabelled ones."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from contract.errors import UserError
from contract.manifest import Manifest
from evaluate.predictions import Predictions, plain
from evaluate.shard_folders import ShardFolder
from evaluate.submission import check_wanted, submission_name, submission_text, wanted_order


def check_orders(shards: ShardFolder, splits: Sequence[str], names: Sequence[str]) -> None:
    """Every test CSV can be answered: said before minutes of prediction, not after."""
    for split in splits:
        if not shards.manifest.split(split).labelled:
            for name in names:
                check_wanted(wanted_order(shards.manifest, split, name), shards.cells(split).ids)


def check_writable(folder: Path) -> None:
    """Make a folder of results; raises ``UserError`` where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None


def csv_files(manifest: Manifest, scored: str | None, columns: dict[str, dict[str, Predictions]]) -> dict[str, bytes]:
    """Predictions of every split, and submissions of the unlabelled ones, by file name."""
    files = {}
    for split, said in columns.items():
        for name, found in said.items():
            ordered = found
            if split != scored:
                wanted = wanted_order(manifest, split, name)
                ordered = found.in_order(wanted.ids)
                verdicts = dict(zip(map(plain, found.cells.ids), found.verdicts.tolist(), strict=True))
                file = submission_name(split, name)
                files[file] = submission_text(wanted, verdicts, file).encode()
            files[f"predictions_{split}_{name}.csv"] = ordered.to_csv().encode()
    return files
