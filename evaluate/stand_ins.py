"""Answers that stand in for the report's in docs/results/course/: refits', and of networks for people never seen.

Of the networks in a folder (``python -m evaluate answers``): their CSVs, the ensemble that has them, their histories.
"""

from dataclasses import dataclass
from pathlib import Path

from contract.errors import UserError
from contract.files import read_bytes
from contract.model_card import settings_of
from evaluate.answer_tables import published
from evaluate.answers import AGAIN, FOLDER, NAME, AnswersRecord, answered_predictions, load_answers
from evaluate.ensemble import average, ensemble_threshold
from evaluate.predictions import Predictions, read_predictions
from evaluate.report_record import ENSEMBLE, ReportRecord

COUNTERPART = "counterpart"  # below the refits: the same trainings, of train alone, where the report's are others
REFIT, UNSEEN = "refit", "unseen"  # in names of histories
PEOPLE_SEEN = "test"  # the split of people who were learned from, as the course makes it


@dataclass(frozen=True)
class Answered:
    """Networks that answered the unlabelled splits of a report's cells, as the report looked at them."""

    folder: Path
    record: AnswersRecord

    def said(self, split: str, name: str) -> Predictions:
        return answered_predictions(self.folder, self.record, split, name)

    def threshold(self, name: str) -> float:
        return float(self.record.networks[name].card["threshold"])

    def history(self, name: str) -> bytes:
        return read_bytes(self.folder / name / "history.csv", "train it again")


def stand_ins(record: ReportRecord, report: Path, refit: Path | None, unseen: Path | None) -> dict[str, bytes]:
    """The files that stand in for those of ``record``, the networks' own report in ``report``, by name.

    Refits answer every split; networks for people never seen every split but test, in the refits' place too. Raises
    ``UserError`` where they answered other cells, in another way, or for a network that the report is not of, and where
    there is no split of people never seen.
    """
    files: dict[str, bytes] = {}
    splits = next(iter(record.networks.values())).unlabelled
    speakers: dict[str, dict[str, Answered]] = {split: {} for split in splits}  # by split and network
    if refit is not None:
        again = _answered(record, refit)
        files |= _histories_of_refits(record, again)
        for split in splits:
            speakers[split] |= dict.fromkeys(again.record.networks, again)
    if unseen is not None:
        others = _answered(record, unseen)
        theirs = [split for split in splits if split != PEOPLE_SEEN]
        if not theirs:
            raise UserError(f"--unseen {unseen}: there is no split but {PEOPLE_SEEN}, whose people were learned from")
        files |= {f"history_{name}_{UNSEEN}.csv": others.history(name) for name in others.record.networks}
        for split in theirs:
            speakers[split] |= dict.fromkeys(others.record.networks, others)
    for split, found in speakers.items():
        files |= _published(record, report, split, found)
    return files


def _answered(record: ReportRecord, folder: Path) -> Answered:
    answers = load_answers(folder)
    path = folder / FOLDER / NAME
    if answers.source_digest != record.dataset.source_digest:
        raise UserError(f"{path}: of other cells, or of another split, than the report: {AGAIN}")
    if answers.orientations != record.orientations:
        sides = f"{answers.orientations} orientations, the report {record.orientations}"
        raise UserError(f"{path}: looked from {sides}: answer anew with --orientations {record.orientations}")
    for name in answers.networks:
        if name not in record.networks:
            raise UserError(f"{path}: answers for {name}, which the report is not of: {', '.join(record.networks)}")
    return Answered(folder, answers)


def _histories_of_refits(record: ReportRecord, again: Answered) -> dict[str, bytes]:
    """Of each refit, and of its counterpart unless that is the report's own network."""
    files: dict[str, bytes] = {}
    for name, network in again.record.networks.items():
        if not network.card["training"].get("refit"):
            path = again.folder / FOLDER / NAME
            raise UserError(f"{path}: {name} is no refit (train --refit): the report has its answers")
        files[f"history_{name}_{REFIT}.csv"] = again.history(name)
        file = record.networks[name].file
        if file is None or settings_of(file.card) != settings_of(network.card):
            counterpart = Answered(again.folder / COUNTERPART, again.record)
            files[f"history_{name}_{COUNTERPART}.csv"] = counterpart.history(name)
    return files


def _published(record: ReportRecord, report: Path, split: str, speakers: dict[str, Answered]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, one in speakers.items():
        files |= published(split, name, one.said(split, name))
    if speakers and ENSEMBLE in record.networks:
        files |= published(split, ENSEMBLE, _ensemble(record, report, split, speakers))
    return files


def _ensemble(record: ReportRecord, report: Path, split: str, speakers: dict[str, Answered]) -> Predictions:
    """The ensemble with these members in the report's place, in the order that its file has; their thresholds too."""
    order = read_predictions(report / f"predictions_{split}_{ENSEMBLE}.csv").cells.ids
    members, thresholds = [], []
    for name in record.networks[ENSEMBLE].members:
        one = speakers.get(name)
        found = one.said(split, name) if one else read_predictions(report / f"predictions_{split}_{name}.csv")
        thresholds.append(one.threshold(name) if one else record.networks[name].threshold)
        try:
            members.append(found.in_order(order))
        except KeyError as error:
            raise UserError(f"{split}: {name} did not answer for {error}: {AGAIN}") from None
    return average(members, ensemble_threshold(thresholds))
