"""The figures of docs/results.md: their numbers are those of the files, and a file that is none is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import leakage, learning_curves
from benchmarks.leakage import Leakage, read_rows
from benchmarks.learning_curves import Curves, read_curves
from benchmarks.predictions_files import accuracy, price, read_files
from contract.errors import UserError
from contract.manifest import Manifest


def _ablation(path: Path, people: dict[str, list[int]], unseen: dict[str, list[int]], seed: int = 0) -> None:
    """Right (1) and wrong (0) verdicts of each person's cells, as benchmarks/ablation.py writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ["key,label,logit,identity,unseen,setting,seed,fold,minutes"]
    for side, named in (("False", people), ("True", unseen)):
        for name, verdicts in named.items():
            rows += [
                f"k{len(rows) + i},1,{2 * v - 1}.5,{name},{side},base,{seed},1,2.0" for i, v in enumerate(verdicts)
            ]
    path.write_text("\n".join(rows) + "\n")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Ablations of two numbers of epochs (one of two seeds), and predictions of a baseline."""
    folder = tmp_path / "abl"
    few = {"A": [1, 1, 1, 0], "B": [1, 0]}
    _ablation(folder / "base-resnet18-64px-e10-s0-f1.csv", few, {"C": [1, 0], "D": [0, 0]})
    _ablation(folder / "base-resnet18-64px-e20-s0-f1.csv", few, {"C": [1, 1], "D": [1, 0]})
    _ablation(folder / "base-resnet18-64px-e20-s1-f1.csv", few, {"C": [1, 1], "D": [1, 1]}, seed=1)
    text = "ID,key,subject,identity,label,probability,verdict\n"
    cells = (("a", "1", "P+Q", 1, 1), ("b", "1", "P+Q", 1, 0), ("c", "7", "", 0, 0), ("d", "7", "", 0, 0))
    text += "".join(f"./{k}.bmp,{k},{s},{i},{label},0.7,{v}\n" for k, s, i, label, v in cells)
    (tmp_path / "predictions_valid.csv").write_text(text)
    return tmp_path


def test_the_price_is_that_of_the_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline, out = files / "predictions_valid.csv", files / "leakage.png"
    command = Leakage((f"resnet18={files}/abl/*e20*.csv",), (f"baseline={baseline}",), (f"baseline={baseline}",), out)
    leakage.main(command)
    rows = read_rows(command)
    seen, unseen = accuracy(rows["resnet18"]["seen"]), accuracy(rows["resnet18"]["unseen"])
    assert (seen.value, seen.n, seen.people) == (8 / 12, 12, 2)
    assert (unseen.value, unseen.n, unseen.people) == (7 / 8, 8, 2)
    # Two people drawn anew: both of one, both of the other, or one of each.
    assert (unseen.low, unseen.high) == (3 / 4, 1.0)
    known = accuracy(rows["baseline"]["seen"])
    assert (known.value, known.people) == (3 / 4, 2)
    # Of four people drawn anew, all are on one side too often for an interval; one table beside itself has no price.
    assert price(rows["resnet18"]["seen"], rows["resnet18"]["unseen"]) == (pytest.approx(8 / 12 - 7 / 8), None)
    assert price(rows["resnet18"]["seen"], rows["resnet18"]["seen"]) == (0.0, (0.0, 0.0))
    printed = capsys.readouterr().out
    assert (
        "| resnet18 | 66.7 % (50.0 to 75.0) | 12 | 87.5 % (75.0 to 100.0) | 8, 2 | -20.8 points (undefined) |"
        in printed
    )
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.std() > 5


def test_the_ids_of_one_person_are_joined_on_both_sides_or_there_is_no_price(files: Path, manifest: Manifest) -> None:
    text = "ID,key,subject,identity,label,probability,verdict\n"
    for name, people in (("ids", ("P,", "Q,", "R,", "S,")), ("people", ("P,P+Q", "Q,P+Q", "R,R+S", "S,R+S"))):
        rows = [f"{i}.bmp,{i},{person},1,0.7,{i % 2}" for i in range(8) for person in people]
        (files / f"{name}.csv").write_text(text + "\n".join(rows) + "\n")
    identities = files / "manifest.json"
    identities.write_text(replace(manifest, identities={"P": "P+Q", "Q": "P+Q", "R": "R+S", "S": "R+S"}).to_json())
    sides = {"seen": (f"a={files}/ids.csv",), "unseen": (f"a={files}/people.csv",)}
    apart, joined = (read_rows(Leakage(**sides, identities=given))["a"] for given in (None, identities))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"P on one side is P\+Q on the other: join the ids by --identities MANIFEST"):
        price(apart["seen"], apart["unseen"])
    with pytest.raises(UserError, match=r"P on one side is P\+Q on the other"):
        price(apart["unseen"], apart["seen"])
    assert price(joined["seen"], joined["unseen"]) == (0.0, (0.0, 0.0))  # the same verdicts of the same people


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"both": ("resnet18",)}, "must be NAME=FILES"),
        ({"both": ("a={}/none*.csv",)}, "no such file"),
        ({"both": ("a={}/predictions_valid.csv",)}, "do not say who was seen"),
        ({"both": ("a={0}/abl/*e20*.csv",), "seen": ("a={0}/predictions_valid.csv",)}, "has its people seen already"),
        ({"seen": ("a={}/other.csv",)}, r"other\.csv: neither predictions of"),
        ({"both": ("a={}/abl/*.csv",)}, r"base \(resnet18, 64 px, 10 epochs\); base \(resnet18, 64 px, 20 epochs\)"),
        ({"both": ("a={0}/abl/*e20*.csv", "b={0}/ways.csv")}, "not one network but 8 orientations; as trained"),
        ({"seen": ("a={}/report/predictions_valid_*.csv",)}, "not one network but "),
        ({"seen": ("a={}/strangers.csv",)}, r"strangers\.csv: has no cell of people seen"),
        ({"seen": ("a={}/leakage.png",)}, r"leakage\.png: no table of predictions: "),
        ({"seen": ("a={}/empty.csv",)}, r"empty\.csv: no table of predictions: No columns to parse"),
        ({}, "nothing to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused(files: Path, flags: dict[str, tuple[str, ...]], words: str) -> None:
    (files / "other.csv").write_text("ID,label\n1,0\n")
    (files / "empty.csv").touch()
    (files / "leakage.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (files / "report").mkdir()
    for name in ("resnet18", "resnet50"):
        shutil.copy(files / "predictions_valid.csv", files / "report" / f"predictions_valid_{name}.csv")
    few = {"A": [1, 0], "B": [1]}
    _ablation(files / "strangers.csv", {}, few)
    _ablation(files / "ways.csv", few, {"C": [1]})
    ways = (files / "ways.csv").read_text()
    (files / "ways.csv").write_text(
        ways.replace("A,False,base", "A,False,as trained").replace(",base,", ",8 orientations,")
    )
    given = {side: tuple(text.format(files) for text in texts) for side, texts in flags.items()}
    with pytest.raises(UserError, match=words):
        read_rows(Leakage(**given))


@pytest.mark.parametrize("person", ["NA", "null", "None", "nan"])
def test_a_person_may_have_any_name(files: Path, person: str) -> None:
    report = files / "predictions_valid.csv"
    report.write_text(report.read_text().replace("P+Q", person))
    assert accuracy(read_files(str(report))).people == 2
    _ablation(files / "of_na.csv", {person: [1, 0], "B": [1]}, {"C": [1]})
    assert sorted(read_files(str(files / "of_na.csv")).person.unique()) == sorted(["B", "C", person])


def test_cells_go_by_identity_where_a_person_has_several_ids(tmp_path: Path) -> None:
    text = "ID,key,subject,identity,label,probability,verdict\n"
    cells = (("a", "1", "1+2"), ("b", "2", "1+2"), ("c", "7", ""), ("NA", "NA", ""))
    text += "".join(f"{key}.bmp,{key},{subject},{identity},1,0.7,1\n" for key, subject, identity in cells)
    (tmp_path / "predictions_valid.csv").write_text(text)
    table = read_files(str(tmp_path / "predictions_valid.csv"))
    assert table.person.tolist() == ["1+2", "1+2", "7", "NA"]
    assert accuracy(table).people == 3


def test_curves_have_a_point_for_each_number_of_epochs(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Curves((f"{files}/abl/*.csv", f"{files}/abl/*e20*.csv"), out=files / "curves.png")
    (points,) = read_curves(command).values()
    assert [(point.x, point.runs, point.unseen.value) for point in points] == [(10, 1, 1 / 4), (20, 2, 7 / 8)]
    assert [point.seen.n for point in points] == [6, 12]
    learning_curves.main(command)
    assert (
        "| resnet18, 64 px, base | 20 | 2 | 66.7 % (50.0 to 75.0) | 87.5 % (75.0 to 100.0) |" in capsys.readouterr().out
    )
    picture = cv2.imread(str(files / "curves.png"))
    assert picture is not None
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (np.abs(picture[:, :, ::-1].astype(int) - colour).max(axis=2) <= 2).sum() > 100


def test_against_people_the_folds_that_leave_more_to_learn_from_lie_to_the_right(files: Path) -> None:
    more = {name: [1, 1] for name in "ABEFG"}
    _ablation(files / "five" / "base-resnet18-64px-e10-s0-f1.csv", more, {"C": [1, 1], "D": [1, 1]})
    (points,) = read_curves(Curves((f"{files}/abl/*e10*.csv", f"{files}/five/*.csv"), "people")).values()
    assert [point.x for point in points] == [2, 5]


def test_folds_of_one_folder_are_points_of_their_own(files: Path) -> None:
    more = {name: [1, 1] for name in "ABEFG"}
    _ablation(files / "abl" / "base-resnet18-64px-e10-5folds-0123abcd-s0-f1.csv", more, {"C": [1, 1], "D": [1, 1]})
    (points,) = read_curves(Curves((f"{files}/abl/*e10-*.csv",), "people")).values()
    assert [(point.x, point.runs) for point in points] == [(2, 1), (5, 1)]
    with pytest.raises(UserError, match=r"10 epochs\); base \(resnet18, 64 px, 10 epochs, 5 folds, 0123abcd\)"):
        read_rows(Leakage((f"a={files}/abl/*e10-*.csv",)))


def test_a_file_of_another_name_is_no_point(files: Path) -> None:
    (files / "abl" / "base-resnet18-64px-e10-s0-f1.csv").rename(files / "abl" / "x.csv")
    with pytest.raises(UserError, match=r"x\.csv: not of benchmarks/ablation\.py"):
        read_curves(Curves((f"{files}/abl/x.csv",)))
    assert read_files(f"{files}/abl/x.csv").unseen.notna().all()
