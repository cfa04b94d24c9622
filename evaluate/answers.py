"""`python -m evaluate answers`: predictions and submissions of the unlabelled splits, and no score.

For networks that learned every labelled cell (``python -m train --refit``): a report has nothing to judge them by.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from contract.errors import UserError
from contract.files import read_bytes, read_text
from contract.publish import publish_together, remove
from contract.record import from_json, to_json
from evaluate.answer_files import check_orders, check_writable, csv_files
from evaluate.columns import Opening, model_file, open_columns, predict_columns
from evaluate.predictions import Predictions, read_predictions
from evaluate.report_record import ModelFile
from evaluate.shard_folders import open_folders

FOLDER, NAME = "answers", "answers.json"
FORMAT = 1
AGAIN = "answer anew (python -m evaluate answers)"


@dataclass(frozen=True)
class Answers:
    """Answer the unlabelled splits with every exported network and score nothing: for those that learned valid too."""

    shards: tuple[Path, ...] = (Path("shards"),)  # folder of the shards; one more for each further recipe of a network
    artifacts: Path = Path("artifacts")  # folder of the exported networks; the CSVs go to ARTIFACTS/answers/
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto says which provider it took
    workers: int = 0  # onnxruntime threads; 0: one a core
    orientations: Literal[1, 8] = 1  # 8: every cell from its eight sides, mean logits; 8 times as long


@dataclass(frozen=True)
class AnswersRecord:
    """``answers.json``: who answered what, written last."""

    format: int
    source_digest: str  # of the cells and their splits
    orientations: int
    networks: dict[str, ModelFile]
    files: dict[str, str]  # SHA-256 of every CSV, by name


def answer(command: Answers) -> Path:
    """Write the CSVs and return their folder; everything is computed and checked before the first is written."""
    folders = open_folders(command.shards)
    manifest = folders[0].manifest
    how = Opening(command.device, command.workers, command.orientations, baseline=False, allow_other_data=False)
    columns = open_columns(command.artifacts, folders, how)
    splits = [split.name for split in manifest.splits if not split.labelled]
    if not splits:
        raise UserError(f"{folders[0].path}: every split has labels: there is nothing to answer")
    check_orders(folders[0], splits, columns.names)
    folder = command.artifacts / FOLDER
    check_writable(folder)
    files = csv_files(manifest, None, {split: predict_columns(columns, split)[0] for split in splits})
    networks = {name: model_file(columns, name, command.artifacts) for name in columns.networks}
    digests = {name: _sha256(data) for name, data in files.items()}
    record = AnswersRecord(FORMAT, manifest.source_digest, command.orientations, networks, digests)
    old = _listed(folder)
    publish_together(folder, files | {NAME: to_json(record).encode()}, NAME)
    for name in old - files.keys():
        remove(folder / name)
    print(f"{folder}: {len(files)} files of {', '.join(columns.names)}: {', '.join(splits)}")
    return folder


def load_answers(artifacts: Path) -> AnswersRecord:
    """Read ``ARTIFACTS/answers/answers.json``.

    Raises ``UserError`` where it is damaged, and where the networks there now are others.
    """
    path = artifacts / FOLDER / NAME
    record = from_json(AnswersRecord, read_text(path, AGAIN), str(path), FORMAT, AGAIN)
    for name, network in record.networks.items():
        if not _is_card(network.card):
            raise UserError(f"{path}: networks.{name}.card: must be a network's: {AGAIN}")
        model = artifacts / network.path
        if _sha256(read_bytes(model, AGAIN)) != network.sha256:
            raise UserError(f"{model}: not the file that {path} is of: {AGAIN}")
    return record


def _is_card(card: dict[str, Any]) -> bool:
    """Whether it has what submissions and publishing ask of a network that answered; it may be of an older version."""
    named = {"arch", "classes", "recipe", "seed", "manifest_digest", "operating_point"}
    kinds = isinstance(card.get("training"), dict) and isinstance(card.get("threshold"), int | float)
    return kinds and card.keys() >= named


def answered(artifacts: Path, record: AnswersRecord, file: str) -> bytes:
    """One of the CSVs; raises ``UserError`` where it is not the one that the record lists."""
    path = artifacts / FOLDER / file
    data = read_bytes(path, AGAIN)
    if _sha256(data) != record.files.get(file):
        raise UserError(f"{path}: not the file that {NAME} lists: {AGAIN}")
    return data


def answered_predictions(artifacts: Path, record: AnswersRecord, split: str, name: str) -> Predictions:
    """What a network said of a split, in the order of its test CSV."""
    file = f"predictions_{split}_{name}.csv"
    answered(artifacts, record, file)
    return read_predictions(artifacts / FOLDER / file)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _listed(folder: Path) -> set[str]:
    """Files of the answers before these; plain names only: a foreign record must not name files elsewhere."""
    path = folder / NAME
    try:
        return {name for name in from_json(AnswersRecord, read_text(path), str(path)).files if Path(name).name == name}
    except UserError:
        return set()
