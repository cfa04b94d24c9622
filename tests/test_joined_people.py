"""Scores with the ids of one person joined, by hand and against scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.joined_people import JoinedPeople, main, read_tables
from benchmarks.predictions_files import estimate
from contract.bootstrap import PEOPLE, resamples, weighted_ranks
from contract.errors import UserError
from contract.manifest import NAME, Manifest

SUBJECTS = ["1", "1", "2", "2", "H1", "H1"]
LABELS = [1, 1, 1, 1, 0, 0]


def write(folder: Path, name: str, probabilities: list[float], first: int = 0) -> None:
    rows = ["ID,key,subject,identity,label,probability,verdict"]
    for i, (subject, label, p) in enumerate(zip(SUBJECTS, LABELS, probabilities, strict=True)):
        rows.append(f"{i + first}.bmp,valid-{i:06d},{subject},,{label},{p},{int(p >= 0.5)}")
    (folder / f"predictions_valid_{name}.csv").write_text("\n".join(rows) + "\n")


def test_ids_of_one_person_are_drawn_together(
    tmp_path: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = tmp_path / "of people.json"  # beside another manifest, which is not asked for
    joined.write_text(replace(manifest, identities={"1": "1+2", "2": "1+2", "H1": "H1"}).to_json())
    (tmp_path / NAME).write_text(manifest.to_json())
    write(tmp_path, "resnet18", [0.9, 0.9, 0.9, 0.2, 0.1, 0.3])
    write(tmp_path, "baseline", [0.9, 0.4, 0.9, 0.2, 0.1, 0.7])
    main(JoinedPeople(tmp_path, joined))
    lines = capsys.readouterr().out.splitlines()
    (network,) = (line for line in lines if line.startswith("| resnet18"))
    # Two people: 3 of 4 right, and 2 of 2; drawn anew, the one, the other or both. Never 0.5, which id 2 alone has.
    assert "| 6, 2 | 83.3 (75.0 to 100.0) | 0.875 (undefined) |" in network
    assert "| +33.3 (+25.0 to +50.0) |" in network  # 1 of 4 and 1 of 2 more than the baseline
    assert next(line for line in lines if line.startswith("| baseline")).endswith("|  |")


def test_estimate_is_scikit_learn_s_on_cells_repeated_as_often_as_they_are_drawn() -> None:
    rng = np.random.default_rng(0)
    people, blast = [str(i % 5) for i in range(40)], rng.random(40) < 0.5
    probability = np.round(rng.random(40), 1)
    value, bounds = estimate(people, lambda w: weighted_ranks(blast, probability, w)[0])
    drawn = [
        roc_auc_score(np.repeat(blast, row), np.repeat(probability, row))
        for weights in resamples(people, 40, PEOPLE)
        for row in weights.astype(int)
    ]
    assert value == pytest.approx(roc_auc_score(blast, probability))
    assert bounds == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_shards_without_identities_and_tables_of_other_cells_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / NAME).write_text(replace(manifest, identities={}).to_json())
    with pytest.raises(UserError, match="knows no identities"):
        main(JoinedPeople(tmp_path, tmp_path / NAME))
    with pytest.raises(UserError, match=r"holds no predictions_valid_\*\.csv"):
        read_tables(JoinedPeople(tmp_path))
    write(tmp_path, "a", [0.5] * 6)
    write(tmp_path, "b", [0.5] * 6, first=1)
    with pytest.raises(UserError, match=r"predictions_valid_b\.csv: not the cells of predictions_valid_a\.csv"):
        read_tables(JoinedPeople(tmp_path))
    unnamed = (tmp_path / "predictions_valid_a.csv").read_text().replace("ID,", "id,")
    (tmp_path / "predictions_valid_a.csv").write_text(unnamed)
    with pytest.raises(UserError, match=r"predictions_valid_a\.csv: not predictions of a labelled split"):
        read_tables(JoinedPeople(tmp_path))


def test_one_person_alone_has_no_interval() -> None:
    assert estimate(["1", "1"], lambda w: w.mean(axis=1)) == (1.0, None)


def test_cells_are_compared_in_one_order_whatever_that_of_their_files(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name, [0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    head, *rows = (tmp_path / "predictions_valid_b.csv").read_text().splitlines()
    (tmp_path / "predictions_valid_b.csv").write_text("\n".join([head, *reversed(rows)]) + "\n")
    one, other = read_tables(JoinedPeople(tmp_path)).values()
    assert one.equals(other)
