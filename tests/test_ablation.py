"""Ablations: what a setting means and is called, who is held out, what is scored, and what is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from small_network import SmallNetwork

import benchmarks.ablation as ablation
import train.run
from benchmarks import ablation_settings, at_test_time
from benchmarks.ablation import Ablation, labelled_cells, make_shards, planned, predict, refuse_other
from benchmarks.ablation_scores import by_seed, drawn_anew, paired, people_of, read, with_baseline
from benchmarks.ablation_settings import NAME, Network, chosen, configured
from benchmarks.ablation_table import Finished, lines
from benchmarks.ablation_table import main as print_table
from contract.bootstrap import PEOPLE, percentile_interval, resamples
from contract.errors import UserError
from contract.model_card import ModelCard
from contract.shard_reader import SplitReader
from train.baseline import Config as BaselineConfig
from train.baseline import run as run_baseline
from train.checkpoint import load_checkpoint

Finish = tuple[Ablation, list[Network]]


@pytest.fixture(scope="module")
def finished(synthetic_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finish:
    """One fold of two, one epoch of a tiny network in two settings, and the baseline. Read only."""
    settings = ("size=40", "size=40,standardise=True,epochs=2")
    out = tmp_path_factory.mktemp("ablation")
    command = Ablation(synthetic_data, settings, out, epochs=1, held=(1,), seeds=(7,), baseline=True, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (ablation, train.run):
            patch.setattr(module, "build_resnet", lambda _: SmallNetwork())
        ablation.main(command)
    return command, list(planned(command, labelled_cells(synthetic_data).digest))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("standardise=True", {"standardise": True}),
        ("standardise=False,blur=0.5", {"standardise": False, "blur": 0.5}),
        ("size=112,epochs=20,arch=resnet50", {"size": 112, "epochs": 20, "arch": "resnet50"}),
        ("format=jpg,quality=90,stain=macenko", {"format": "jpg", "quality": 90, "stain": "macenko"}),
    ],
)
def test_a_setting_is_read_by_the_kind_of_its_field(setting: str, values: dict[str, object]) -> None:
    found = chosen(setting)
    assert found == values
    assert [type(value) for value in found.values()] == [type(value) for value in values.values()]
    recipe, config = configured(setting, "resnet18", 64, 10)
    assert {name: vars(recipe).get(name, vars(config).get(name)) for name in values} == values


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("standardise=true", "standardise=true: must be one of True, False"),
        ("standardise=1", "must be one of True, False"),
        ("optimizer=adam", "must be one of sgd, adamw"),
        ("sampling=people", "must be one of plain, class, subject"),
        ("crop=centre", "must be one of native, box, none"),
        ("stain=foo", "must be one of none, reinhard"),
        ("arch=resnet34", "must be one of resnet18"),
        ("arch=all", "name one"),
        ("epochs=abc", "epochs=abc: must be a whole number"),
        ("blur=", "blur=: must be a number"),
        ("blur=nan", "must be between 0 and 1"),
        ("quality=90", "the format png has none"),
        ("size=8", "size 8: must be between"),
        ("blurr=0.1", "no field 'blurr' to set: there are stain, crop"),
        ("shards=here", "no field 'shards'"),
        ("seed=1", "no field 'seed'"),
        ("size=64,size=112", "size comes twice"),
        ("", "no field ''"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_its_name(setting: str, words: str) -> None:
    with pytest.raises(UserError, match=f"--settings {setting}.*{words}"):
        configured(setting, "resnet18", 64, 10)


@pytest.mark.parametrize("flags", [{"folds": 1}, {"held": (3,)}, {"seeds": (0, 0)}, {"settings": ("blur=0.1",) * 2}])
def test_a_plan_that_is_none_is_refused_before_anything_is_trained(flags: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(flags))}"):
        list(planned(Ablation(Path(), **flags), "digest"))  # type: ignore[arg-type]


def test_names_carry_what_decides_a_result_and_old_ones_are_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Ablation(Path(), ("blur=0.5",), seeds=(0,), held=(1,))
    (first,) = planned(command, "cells")
    others = [
        *(replace(command, **{name: value}) for name, value in (("folds", 5), ("epochs", 30), ("size", 112))),
        replace(command, settings=("blur=0.5,lr=0.1",)),
        replace(command, seeds=(1,)),
        replace(command, held=(2,)),
    ]
    networks = [first, *(next(planned(other, "cells")) for other in others), next(planned(command, "other cells"))]
    monkeypatch.setitem(ablation_settings.BASE, "batch_size", 32)
    networks.append(next(planned(command, "cells")))  # the same setting, on another base
    for named in ("file", "checkpoint"):
        assert len({getattr(network, named) for network in networks}) == len(networks), named
    # Shards are shared by settings of one recipe and data, but by no other folds, sizes, seeds or data.
    assert len({network.shards for network in networks}) == len(networks) - 3
    assert len({network.baseline_file for network in networks}) == len(networks) - 3
    for network in networks:
        named = NAME.fullmatch(network.file.name)
        assert named is not None
        assert (named["setting"], named["folds"]) == (network.setting, str(network.folds))
    old = NAME.fullmatch("standardise=True,batch_size=32-resnet18-64px-e10-s0-f1.csv")
    assert old is not None
    assert (old["setting"], old["folds"]) == ("standardise=True,batch_size=32", None)


def test_nobody_held_out_is_trained_on_and_no_seen_image_either(finished: Finish) -> None:
    command, (network, _) = finished
    manifest = make_shards(command, labelled_cells(command.data), network)  # finished: only read
    readers = {split: SplitReader(network.shards, manifest, split) for split in ("train", "valid", "seen")}
    people = {name: {manifest.identity(s) for s in reader.subjects} for name, reader in readers.items()}
    cells = {name: {r.info(i)["source"] for i in range(len(r))} for name, r in readers.items()}
    assert all(cells.values())
    assert not people["valid"] & (people["train"] | people["seen"])
    assert not cells["seen"] & (cells["train"] | cells["valid"])
    assert not cells["train"] & cells["valid"]
    assert sum(map(len, cells.values())) == 48  # every labelled cell, once


def test_the_command_leaves_rows_of_both_sides_and_goes_on_where_it_was(
    finished: Finish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, networks = finished
    tables = read([*(network.file for network in networks), networks[0].baseline_file])
    assert set(tables.setting) == {*command.settings, "baseline"}
    for _, table in tables.groupby("setting"):
        assert table.unseen.sum() > 10
        assert not set(table.identity[table.unseen]) & set(table.identity[~table.unseen])
    monkeypatch.setattr(ablation, "train", None)  # must not be called again
    monkeypatch.setattr(ablation, "judge_baseline", None)
    ablation.main(command)
    printed = capsys.readouterr().out
    flags = {"out": command.out, "epochs": 1, "size": 64}
    print_table(Finished((*command.settings, "baseline"), **flags))  # type: ignore[arg-type]
    assert capsys.readouterr().out == printed
    assert printed.count("\n| baseline | ") == 2
    with pytest.raises(UserError, match=r"no results of size=40, resnet18, 40 px, 7 epochs.*there: baseline"):
        print_table(Finished(("size=40",), **{**flags, "epochs": 7}))  # type: ignore[arg-type]


def test_the_baseline_is_that_of_the_train_room(finished: Finish, tmp_path: Path) -> None:
    _, (network, _) = finished
    run_baseline(BaselineConfig(shards=(network.shards,), artifacts=tmp_path, resamples=100))
    theirs = pd.read_csv(tmp_path / "baseline" / "predictions_valid.csv").set_index("key").probability
    ours = read([network.baseline_file])
    mine = ours[ours.unseen].set_index("key").logit
    np.testing.assert_allclose(1 / (1 + np.exp(-mine[theirs.index])), theirs, atol=1e-6)


def test_a_checkpoint_of_another_network_is_refused(finished: Finish) -> None:
    command, (network, _) = finished
    manifest = make_shards(command, labelled_cells(command.data), network)
    card, _ = load_checkpoint(network.checkpoint)
    refuse_other(network, manifest, card, 1, False)
    others: list[tuple[str, ModelCard, int, bool]] = [
        ("manifest 000", replace(card, manifest_digest="0" * 64), 1, False),
        ("size 64, not 40", replace(card, recipe=replace(card.recipe, size=64)), 1, False),
        ("epochs 30, not 1", replace(card, training={**card.training, "epochs": 30}), 1, False),
        ("0 of 1 epochs", card, 0, False),
        ("1 of 1 epochs done", card, 1, True),
    ]
    for words, other, epochs, inside in others:
        with pytest.raises(UserError, match=f"last.pt: not the network that was asked for: {words}"):
            refuse_other(network, manifest, other, epochs, inside)


def test_at_test_time_judges_the_networks_of_the_ablation_and_no_others(
    finished: Finish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, (network, longer) = finished
    monkeypatch.setattr(ablation, "build_resnet", lambda _: SmallNetwork())
    asked = at_test_time.TestTime(command.data, "size=40", out=command.out, epochs=1, held=(1,), seeds=(7,))
    at_test_time.main(asked)
    found = read([command.out / "at_test_time" / network.file.name])
    once = found[found.setting == "as trained"].drop(columns=["setting", "minutes"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(once, read([network.file]).drop(columns=["setting", "minutes"]))
    assert found.setting.nunique() == 4
    assert "| 8 orientations | 1 | 1 of 2 | " in capsys.readouterr().out
    with pytest.raises(UserError, match="no such file"):  # one epoch was trained: nothing else is judged in its place
        at_test_time.main(replace(asked, epochs=10))
    # A network in another's place, as names without epochs once made possible.
    network.checkpoint.rename(network.checkpoint.with_suffix(".kept"))
    try:
        network.checkpoint.write_bytes(longer.checkpoint.read_bytes())
        manifest = make_shards(command, labelled_cells(command.data), network)
        with pytest.raises(UserError, match="epochs 2, not 1; standardise True, not False"):
            predict(network, manifest, "valid")
    finally:
        network.checkpoint.with_suffix(".kept").replace(network.checkpoint)


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


def test_a_setting_and_the_baseline_together_are_the_mean_of_their_probabilities() -> None:
    tables = pd.concat([_table("a", 1, FIRST), _table("baseline", 1, FIRST).assign(logit=-0.5)], ignore_index=True)
    both = with_baseline(tables, "a")
    mean = (1 / (1 + np.exp(-_table("a", 1, FIRST).logit)) + 1 / (1 + np.exp(0.5))) / 2
    assert set(both.setting) == {"a+baseline"}
    assert (1 / (1 + np.exp(-both.logit))).tolist() == pytest.approx(mean.tolist())
    assert both.minutes.tolist() == (2 * _table("a", 1, FIRST).minutes).tolist()


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


def test_the_baseline_beside_a_setting_is_found_and_printed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    old = write("blur=0.1-resnet18-64px-e10-s0-f1.csv")
    with pytest.raises(UserError, match="no results of baseline, trees, 64 px"):
        print_table(Finished(("blur=0.1+baseline",), out=old.parent))
    write("baseline-trees-64px-e0-s0-f1.csv", setting="baseline", logit=9.0)  # it calls every cell a blast
    print_table(Finished(("blur=0.1", "blur=0.1+baseline"), out=old.parent))
    printed = capsys.readouterr().out
    assert "| blur=0.1 | 1 | 1 of 2 | 61.9 [" in printed
    assert "| blur=0.1+baseline | 1 | 1 of 2 | 52.4 [" in printed
