"""What refits change in docs/results/course/: their answers, those of the ensemble that has them, and histories."""

from pathlib import Path

from contract.errors import UserError
from contract.files import read_bytes
from contract.model_card import settings_of
from evaluate.answer_tables import published
from evaluate.answers import AGAIN, FOLDER, NAME, AnswersRecord, answered_predictions, load_answers
from evaluate.ensemble import average
from evaluate.predictions import Predictions, read_predictions
from evaluate.report_record import ENSEMBLE, ReportRecord

COUNTERPART = "counterpart"  # below the refits: the same trainings, of train alone, where the report's are others


def refit_files(record: ReportRecord, report: Path, folder: Path) -> dict[str, bytes]:
    """By file name, of the refits below ``folder``; ``record`` is that of the networks' own report, in ``report``.

    Raises ``UserError`` where they answered other cells, in another way, or for a network that the report is not of.
    """
    answers = load_answers(folder)
    _check(answers, record, folder)
    files = {}
    for name in answers.networks:
        for end, path in _histories(record, answers, folder, name).items():
            files[f"history_{name}_{end}.csv"] = read_bytes(path / "history.csv", "train it again")
    for split in next(iter(record.networks.values())).unlabelled:
        said = {name: answered_predictions(folder, answers, split, name) for name in answers.networks}
        for name, found in said.items():
            files |= published(split, name, found)
        if ENSEMBLE in record.networks:
            files |= published(split, ENSEMBLE, _ensemble(record, report, split, said))
    return files


def _histories(record: ReportRecord, answers: AnswersRecord, folder: Path, name: str) -> dict[str, Path]:
    """Folders of a refit and of its counterpart, unless that is the report's own network."""
    found = {"refit": folder / name}
    file = record.networks[name].file
    if file is None or settings_of(file.card) != settings_of(answers.networks[name].card):
        found[COUNTERPART] = folder / COUNTERPART / name
    return found


def _check(answers: AnswersRecord, record: ReportRecord, folder: Path) -> None:
    path = folder / FOLDER / NAME
    if answers.source_digest != record.dataset.source_digest:
        raise UserError(f"{path}: of other cells, or of another split, than the report: {AGAIN}")
    if answers.orientations != record.orientations:
        sides = f"{answers.orientations} orientations, the report {record.orientations}"
        raise UserError(f"{path}: looked from {sides}: answer anew with --orientations {record.orientations}")
    for name, network in answers.networks.items():
        if name not in record.networks:
            raise UserError(f"{path}: answers for {name}, which the report is not of: {', '.join(record.networks)}")
        if not network.card["training"].get("refit"):
            raise UserError(f"{path}: {name} is no refit (train --refit): the report has its answers")


def _ensemble(record: ReportRecord, report: Path, split: str, said: dict[str, Predictions]) -> Predictions:
    """The ensemble with its refitted members, in the order that its file has."""
    ensemble = record.networks[ENSEMBLE]
    order = read_predictions(report / f"predictions_{split}_{ENSEMBLE}.csv").cells.ids
    members = []
    for name in ensemble.members:
        found = said[name] if name in said else read_predictions(report / f"predictions_{split}_{name}.csv")
        try:
            members.append(found.in_order(order))
        except KeyError as error:
            raise UserError(f"{split}: {name} did not answer for {error}: {AGAIN}") from None
    return average(members, ensemble.threshold)
