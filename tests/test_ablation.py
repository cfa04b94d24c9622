"""Ablations: what a setting means and is called, who is held out, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_network import SmallNetwork

import benchmarks.ablation as ablation
import train.run
from benchmarks import ablation_settings, at_test_time
from benchmarks.ablation import Ablation, labelled_cells, make_shards, planned, predict, refuse_other
from benchmarks.ablation_scores import read
from benchmarks.ablation_settings import NAME, Network, chosen, configured
from benchmarks.ablation_table import Finished
from benchmarks.ablation_table import main as print_table
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
            patch.setattr(module, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
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
        ("refit=True", "no field 'refit'"),  # it would learn the cells that are held out
        ("patience=2", "no field 'patience'"),  # it would stop by them
        ("size=64,size=112", "size comes twice"),
        ("", "no field ''"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_its_name(setting: str, words: str) -> None:
    with pytest.raises(UserError, match=f"--settings {setting}.*{words}"):
        configured(setting, "resnet18", 64, 10)


@pytest.mark.parametrize(
    "flags",
    [{"folds": 1}, {"held": (3,)}, {"seeds": (0, 0)}, {"settings": ("blur=0.1",) * 2}, {"workers": -1}],
)
def test_a_plan_that_is_none_is_refused_before_anything_is_trained(flags: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(flags))}"):
        list(planned(Ablation(Path(), **flags), "digest"))  # type: ignore[arg-type]


def test_a_setting_whose_results_would_have_no_name_is_refused_before_anything_is_trained() -> None:
    def plan(blur: str) -> list[Network]:
        return list(planned(Ablation(Path(), (f"blur=0.{blur}",), seeds=(0,), held=(1,)), "cells"))

    rest = len(plan("5")[0].file.name) - 1
    assert len(plan("5" * (241 - rest))) == 1
    with pytest.raises(UserError, match=r"^--settings blur=0\.5+: .* has more than 241 bytes, too long for a file"):
        plan("5" * (242 - rest))


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


def test_a_network_starts_from_the_last_averaged_weights_of_another_of_its_seed_and_fold(
    finished: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, (lender, _) = finished
    labelled = labelled_cells(command.data)
    after = replace(command, settings=("size=40,lr=1e-30,ema_decay=0.0",), initial="size=40", baseline=False)
    (network,) = planned(after, labelled.digest)
    (alone,) = planned(replace(after, initial=""), labelled.digest)
    assert network.lender == lender
    assert network.file != alone.file
    for module in (ablation, train.run):
        monkeypatch.setattr(module, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
    ablation.main(after)  # at a rate that moves nothing
    theirs, mine = (load_checkpoint(n.checkpoint)[1] for n in (lender, network))
    moved = {name for name, value in theirs["ema"].items() if not torch.equal(value, theirs["model"][name])}
    assert "conv1.weight" in moved  # so that it matters which of the two are lent
    for name in [name for name in moved if "running" not in name]:  # BatchNorm's statistics move at any rate
        torch.testing.assert_close(mine["model"][name], theirs["ema"][name], rtol=0, atol=0)
    assert load_checkpoint(network.checkpoint)[0].training["initial"].startswith("epoch 1 at 40 px")
    for asked, words in (("size=40,epochs=3", "last.pt: no such file"), ("size=40,sise=1", "no field 'sise'")):
        with pytest.raises(UserError, match=words):
            ablation.main(replace(after, initial=asked, settings=("size=40,lr=1e-29",)))


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
    monkeypatch.setattr(ablation, "build_resnet", lambda _, channels=3: SmallNetwork(channels))
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
