"""A report of all columns with the files that `python -m evaluate publish` takes, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from finished_report import record

from contract.baseline import BaselineCard
from contract.publish import file_sha256
from contract.record import to_json
from evaluate.predictions import Cells, Predictions
from evaluate.report_record import ARCHS, Network, ReportRecord, Verdicts

NAMES = (*ARCHS, "ensemble", "baseline")
CARD = BaselineCard(1, "some cells", ("normal", "blast"), ("b" * 64,), "trees", ("area",), 0, 0.5, (9,), {}, {})


def predictions_of(seed: int, split: str) -> Predictions:
    ids = (f"./{split}/2.bmp", f"./{split}/a, b.bmp", f"./{split}/1.bmp")
    probability = np.random.default_rng(seed).random(3).astype(np.float32)
    cells = Cells(ids, ("k2", "k3", "k1"), (None,) * 3, (None,) * 3, (None,) * 3)
    return Predictions(cells, None, probability**2, probability, (probability >= 0.5).astype(np.int64))


def write_report(
    folder: Path, names: tuple[str, ...] = NAMES, splits: tuple[str, ...] = ("test", "external")
) -> ReportRecord:
    """Networks, baseline and a report of them, below ``folder``."""
    (folder / "report").mkdir(parents=True, exist_ok=True)
    networks: dict[str, Network] = {}
    for seed, name in enumerate(names):
        (folder / name).mkdir(exist_ok=True)
        column = record().networks["ensemble" if name == "baseline" else name]
        column = replace(column, unlabelled={split: Verdicts(3, 1, 2) for split in splits})
        if column.file is not None:
            (folder / name / "model.onnx").write_bytes(name.encode())
            sha256 = file_sha256(folder / name / "model.onnx")
            column = replace(column, file=replace(column.file, sha256=sha256))
            text = "epoch,train_accuracy,valid_accuracy\n1,0.61,0.6789\n2,0.75,0.6543\n"
            (folder / name / "history.csv").write_text(text)
        if name == "ensemble":
            column = replace(column, members=ARCHS)
        if name == "baseline":
            column = replace(column, baseline=CARD)
            (folder / name / "card.json").write_text(CARD.to_json())
        networks[name] = column
        for split in splits:
            said = predictions_of(seed, split)
            (folder / "report" / f"predictions_{split}_{name}.csv").write_text(said.to_csv())
            rows = [
                f'"{i}",{v}' if "," in i else f"{i},{v}" for i, v in zip(said.cells.ids, said.verdicts, strict=True)
            ]
            file = f"submission_{name}.csv" if split == "test" else f"submission_{split}_{name}.csv"
            (folder / "report" / file).write_text("\n".join(["ID,label", *rows, ""]))
        (folder / "report" / f"confusion_{name}.png").write_bytes(b"matrix of " + name.encode())
    (folder / "report" / "accuracy.png").write_bytes(b"curves")
    history = {name: rows for name, rows in record().history.items() if name in names}
    pairs = tuple(pair for pair in record().pairs if {pair.a, pair.b} <= networks.keys())
    made = record(networks=networks, history=history, pairs=pairs)
    (folder / "report" / "metrics.json").write_text(to_json(made), encoding="utf-8")
    return made
