"""Ablations: their scores, differences between settings, and the table that is printed."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from benchmarks.ablation_scores import by_seed, drawn_anew, paired, people_of, read, together
from benchmarks.ablation_table import Finished, lines
from benchmarks.ablation_table import main as print_table
from contract.bootstrap import PEOPLE, percentile_interval, resamples
from contract.errors import UserError


def _table(setting: str, fold: int, people: dict[str, tuple[int, list[float]]], seed: int = 0) -> pd.DataFrame:
    """Cells of people never seen: each person's label and logits."""
    rows = [(name, label, logit) for name, (label, logits) in people.items() for logit in logits]
    table = pd.DataFrame(rows, columns=["identity", "label", "logit"])
    keys = [f"valid-{i:06d}" for i in range(len(table))]
    same = {"unseen": True, "setting": setting, "seed": seed, "fold": fold, "folds": 2, "minutes": 1.5}
    return table.assign(key=keys, **same)


FIRST = {"A": (1, [1.0] * 15 + [-1.0] * 5), "B": (0, [-2.0] * 10 + [2.0] * 10), "C": (1, [3.0, -3.0])}
SECOND = {"D": (1, [0.5] * 20), "E": (0, [-0.5] * 19 + [0.7])}


def test_scores_are_those_of_scikit_learn_and_of_counting() -> None:
    table = pd.concat([_table("a", 1, FIRST), _table("a", 2, SECOND)], ignore_index=True)
    people = people_of(table)
    found = {name: value[0, 0] for name, value in by_seed(table, people, np.ones((1, 5))).items()}
    called = table.logit > 0
    assert found["accuracy"] == pytest.approx((15 + 10 + 1 + 20 + 19) / 82)
    assert found["F1"] == pytest.approx(f1_score(table.label, called, average="weighted"))
    folds = [roc_auc_score(t.label, t.logit) for _, t in table.groupby("fold")]
    assert found["AUROC"] == pytest.approx(np.mean(folds))
    assert found["worst"] == pytest.approx(10 / 20)
    assert found["median"] == pytest.approx((15 / 20 + 19 / 20) / 2)  # of A, B, D and E: C has two cells


def test_drawing_people_anew_is_the_same_as_repeating_their_cells() -> None:
    table = pd.concat([_table("a", 1, FIRST), _table("a", 2, SECOND)], ignore_index=True)
    weights = drawn_anew(people_of(table))
    assert weights.shape == (2000, 5)
    # The draws of reports: contract.bootstrap, over the cells' people.
    cells = np.concatenate([*resamples(table.identity.tolist(), len(table), PEOPLE)])
    assert np.array_equal(weights[:, np.searchsorted(people_of(table), table.identity)], cells)
    scores = by_seed(table, people_of(table), weights)
    for draw in (0, 7, 1999):
        repeated = table.loc[table.index.repeat(cells[draw].astype(int))]
        right = (repeated.logit > 0) == (repeated.label == 1)
        assert scores["accuracy"][0, draw] == pytest.approx(right.mean())
        both = [t for _, t in repeated.groupby("fold") if t.label.nunique() == 2]
        auroc = np.mean([roc_auc_score(t.label, t.logit) for t in both]) if both else math.nan
        assert scores["AUROC"][0, draw] == pytest.approx(auroc, nan_ok=True)
        drawn = weights[draw].astype(int)[[0, 1, 3, 4]]
        identities = np.repeat([0.75, 0.5, 1.0, 0.95], drawn)
        assert scores["median"][0, draw] == pytest.approx(np.median(identities) if len(identities) else math.nan)
        assert scores["worst"][0, draw] == pytest.approx(identities.min() if len(identities) else math.nan)


def test_differences_are_paired_by_seed_fold_and_cell() -> None:
    better = {**FIRST, "A": (1, [1.0] * 20)}  # five cells more
    tables = pd.concat(
        [_table("a", 1, FIRST), _table("a", 2, SECOND), _table("b", 1, better), _table("b", 1, better, seed=1)],
        ignore_index=True,
    )  # the same keys in both folds, one fold more in the first setting, one seed more in the second
    a, b = paired(tables, "a", "b")
    assert len(a) == len(b) == 42
    assert (a.key == b.key).all()
    printed = "\n".join(lines(tables.assign(unseen=True).pipe(_with_seen), ("a", "b")))
    people = ["A", "B", "C"]
    drawn = drawn_anew(people)
    gain = drawn @ np.array([5, 0, 0]) / (drawn @ np.array([20, 20, 2]))
    low, high = percentile_interval(100 * gain) or (math.nan, math.nan)
    assert f"| b | {500 / 42:+.1f} [{low:+.1f} to {high:+.1f}] | " in printed
    assert "| 1 | 1 of 2 | 42, 3 |" in printed


def _with_seen(tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([tables, tables.assign(unseen=False)], ignore_index=True)


def test_settings_together_are_the_mean_of_their_probabilities_where_all_judged() -> None:
    own = _table("a", 1, FIRST)
    others = [own.assign(setting="baseline", logit=-0.5), own.assign(setting="b", logit=2.0).iloc[3:]]
    tables = pd.concat([own, *others], ignore_index=True)
    for setting, logits, cells in (("a+baseline", (-0.5,), own), ("a+baseline+b", (-0.5, 2.0), own.iloc[3:])):
        joint = together(tables, setting)
        probabilities = [1 / (1 + np.exp(-np.asarray(logit))) for logit in (cells.logit, *logits)]
        mean = sum(np.broadcast_to(p, len(cells)) for p in probabilities) / len(probabilities)
        assert set(joint.setting) == {setting}
        assert joint.key.tolist() == cells.key.tolist()
        assert (1 / (1 + np.exp(-joint.logit))).tolist() == pytest.approx(mean.tolist())
        assert joint.minutes.tolist() == (len(probabilities) * cells.minutes).tolist()


def test_members_sure_beyond_a_probability_of_one_keep_their_order_together() -> None:
    own = _table("a", 1, {"A": (1, [38.0, 39.0, -800.0]), "B": (0, [45.0, 60.0, -45.0])})
    joint = together(pd.concat([own, own.assign(setting="b")], ignore_index=True), "a+b")
    assert joint.logit.tolist() == pytest.approx(own.logit.tolist())


def test_settings_of_other_people_are_not_compared() -> None:
    other = {"Z": (0, FIRST["A"][1]), "B": FIRST["B"], "C": FIRST["C"]}
    with pytest.raises(UserError, match="of another dataset"):
        paired(pd.concat([_table("a", 1, FIRST), _table("b", 1, other)]), "a", "b")
    with pytest.raises(UserError, match="no cell, seed and fold in common"):
        paired(pd.concat([_table("a", 1, FIRST), _table("b", 2, FIRST)]), "a", "b")


def test_the_table_has_mean_deviation_values_and_intervals() -> None:
    worse = {**FIRST, "A": (1, [-1.0] * 20)}
    tables = pd.concat([_table("a", 1, FIRST), _table("a", 1, worse, seed=1)], ignore_index=True)
    (row,) = [line for line in lines(_with_seen(tables), ("a",)) if line.startswith("| a |")]
    each = [100 * right / 42 for right in (26, 11)]
    text = f"| a | 2 | 1 of 2 | {np.mean(each):.1f} ± {np.std(each, ddof=1):.1f} ({each[0]:.1f}, {each[1]:.1f}) ["
    assert row.startswith(text)
    assert row.endswith(" | 1.5 |")
    three = pd.concat([tables, _table("a", 1, FIRST, seed=2)], ignore_index=True)
    (row,) = [line for line in lines(_with_seen(three), ("a",)) if line.startswith("| a |")]
    each.append(each[0])
    assert f"| 3 | 1 of 2 | {np.mean(each):.1f} ± {np.std(each, ddof=1):.1f} [" in row


def test_a_seed_that_lacks_a_fold_is_said() -> None:
    tables = [_table("a", 1, FIRST), _table("a", 2, SECOND), _table("a", 1, FIRST, seed=1)]
    (row,) = [line for line in lines(_with_seen(pd.concat(tables, ignore_index=True)), ("a",)) if "| a |" in line]
    assert row.startswith("| a | 2 | 2, 1 of 2 | ")


def test_people_never_seen_and_people_seen_have_columns_of_their_own() -> None:
    unseen = _table("a", 1, FIRST)  # 26 of 42 right
    seen = _table("a", 1, {"F": (1, [1.0] * 30), "G": (0, [-1.0] * 30)}).assign(unseen=False)  # all right
    tables = pd.concat([unseen, seen], ignore_index=True)
    (row,) = [line for line in lines(tables, ("a",)) if line.startswith("| a |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3].startswith("61.9 [")
    assert cells[8:10] == ["100.0", "1.000"]


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(name)`` writes predictions under a file name, as of fold 1."""

    def publish(name: str, **columns: object) -> Path:
        file = tmp_path / name
        _with_seen(_table("blur=0.1", 1, FIRST)).drop(columns="folds").assign(**columns).to_csv(file, index=False)
        return file

    return publish


def test_old_names_are_of_two_folds_and_definitions_are_not_mixed(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write("blur=0.1-resnet18-64px-e10-s0-f1.csv")
    print_table(Finished(("blur=0.1",), out=old.parent))
    assert "| blur=0.1 | 1 | 1 of 2 | 61.9 [" in capsys.readouterr().out
    new = write("blur=0.1-resnet18-64px-e10-5folds-0123abcd-s0-f1.csv")
    assert read([new]).folds.unique() == 5
    print_table(Finished(("blur=0.1",), out=old.parent, folds=5))
    assert "| blur=0.1 | 1 | 1 of 5 | 61.9 [" in capsys.readouterr().out
    write("blur=0.1-resnet18-64px-e10-2folds-0123abcd-s1-f1.csv", seed=1)
    with pytest.raises(UserError, match=r"2 definitions \(0123abcd, an old name\): keep one"):
        print_table(Finished(("blur=0.1",), out=old.parent))
    with pytest.raises(UserError, match="two predictions of one cell"):
        read([old, old])
    with pytest.raises(UserError, match="an old name, which stands for 2 folds, and fold 3"):
        read([write("blur=0.1-resnet18-64px-e10-s0-f3.csv", fold=3)])
    with pytest.raises(UserError, match="not predictions of"):
        read([write("blur=0.1-resnet18-64px-e10-s0-f2.csv")])  # fold 1, by its rows


def test_a_file_that_is_named_as_another_setting_is_refused(write: Write) -> None:
    named = write("blur=0.2-resnet18-64px-e10-s0-f1.csv")
    with pytest.raises(UserError, match=r"blur=0\.2-.*csv: named as blur=0\.2, but its rows are of blur=0\.1"):
        print_table(Finished(("blur=0.2",), out=named.parent))


def test_the_baseline_beside_a_setting_is_found_and_printed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    old = write("blur=0.1-resnet18-64px-e10-s0-f1.csv")
    with pytest.raises(UserError, match="no results of baseline, trees, 64 px"):
        print_table(Finished(("blur=0.1+baseline",), out=old.parent))
    write("baseline-trees-64px-e0-s0-f1.csv", setting="baseline", logit=9.0)  # it calls every cell a blast
    print_table(Finished(("blur=0.1", "blur=0.1+baseline"), out=old.parent))
    printed = capsys.readouterr().out
    assert "| blur=0.1 | 1 | 1 of 2 | 61.9 [" in printed
    assert "| blur=0.1+baseline | 1 | 1 of 2 | 52.4 [" in printed
    write("sharpen=0.1-resnet18-64px-e10-s0-f1.csv", setting="sharpen=0.1", logit=9.0)
    print_table(Finished(("blur=0.1+sharpen=0.1+baseline",), out=old.parent))
    assert "| blur=0.1+sharpen=0.1+baseline | 1 | 1 of 2 | 52.4 [" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"blur=0.1\+blur=0.1: a setting comes twice"):
        print_table(Finished(("blur=0.1+blur=0.1",), out=old.parent))


def test_seeds_and_folds_that_are_asked_for_are_those_of_the_table(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        for fold in (1, 2):
            name = f"blur=0.1-resnet18-64px-e10-2folds-0123abcd-s{seed}-f{fold}.csv"
            out = write(name, seed=seed, fold=fold).parent
    for asked, said in (({}, "2 | 2 of 2"), ({"seeds": (1,)}, "1 | 2 of 2"), ({"held": (2,)}, "2 | 1 of 2")):
        print_table(Finished(("blur=0.1",), out=out, **asked))  # type: ignore[arg-type]
        assert f"| blur=0.1 | {said} | " in capsys.readouterr().out


def test_the_baseline_may_come_first_or_alone(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("blur=0.1-resnet18-64px-e10-s0-f1.csv")
    out = write("baseline-trees-64px-e0-s0-f1.csv", setting="baseline", logit=9.0).parent
    print_table(Finished(("baseline", "blur=0.1"), out=out, size=64))
    printed = capsys.readouterr().out
    assert "| baseline | 1 | 1 of 2 | 52.4 [" in printed
    assert "| less baseline | " in printed
    assert "| blur=0.1 | +9.5 [" in printed
    print_table(Finished(("baseline",), out=out))
    assert "| baseline | 1 | 1 of 2 | 52.4 [" in capsys.readouterr().out
