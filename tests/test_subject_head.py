"""The head that tells people apart: its loss written plainly, its gradient reversed or not, its place in a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from equality import assert_equal
from small_network import SmallNetwork, config_of, stopped_and_resumed
from torch import Tensor
from torch.nn import functional

import train.loop
from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.checkpoint import load_checkpoint
from train.loop import train as train_network
from train.run import Run
from train.subject_head import People, SubjectHead

pytestmark = pytest.mark.usefixtures("small_networks")
CPU = torch.device("cpu")


@pytest.fixture
def people(reader: SplitReader, manifest: Manifest) -> People:
    return People(reader, manifest)


def head_of(people: People, weight: float) -> SubjectHead:
    torch.manual_seed(3)
    return SubjectHead(SmallNetwork(), people, weight)  # type: ignore[arg-type]


def batch_of(reader: SplitReader, n: int) -> tuple[Tensor, list[str]]:
    x = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    return x, [sample.key for sample in reader.samples[:n]]


def gradients(head: SubjectHead, x: Tensor, keys: list[str]) -> dict[str, Tensor]:
    """Of the people's loss alone."""
    head.zero_grad()
    said = head(x)
    targets = head.beside(torch.zeros(len(x), 2), keys)
    head.loss(said[:, 2:], targets[:, 2:]).backward()
    return {name: value.grad for name, value in head.named_parameters() if value.grad is not None}


def test_it_says_what_the_network_says_and_beside_it_who_it_is(people: People, reader: SplitReader) -> None:
    x, _ = batch_of(reader, 6)
    for weight in (0.5, -0.5):
        head = head_of(people, weight)
        said = head(x)
        assert said.shape == (6, 2 + people.count)
        head.eval()
        torch.testing.assert_close(head(x)[:, :2], head.network(x))
        torch.testing.assert_close(head(x)[:, 2:], head.subjects(head.network.pooled(x)))


def test_its_loss_is_the_weighted_cross_entropy_of_the_people(
    people: People, reader: SplitReader, manifest: Manifest
) -> None:
    names = sorted({str(manifest.identity(subject)) for subject in reader.subjects})
    assert people.count == len(names) > 1
    right = torch.tensor([names.index(str(manifest.identity(subject))) for subject in reader.subjects[:9]])
    _, keys = batch_of(reader, 9)
    logits = torch.randn(9, people.count, generator=torch.Generator().manual_seed(1))
    for weight in (0.3, -0.3):
        head = head_of(people, weight)
        targets = head.beside(torch.eye(2)[[0, 1, 0, 1, 0, 1, 0, 1, 0]], keys)
        assert torch.equal(targets[:, :2].argmax(1), torch.arange(9) % 2)
        wanted = 0.3 * functional.cross_entropy(logits, right, reduction="sum")
        torch.testing.assert_close(head.loss(logits, targets[:, 2:]), wanted)


def test_below_zero_the_features_get_the_reversed_gradient_and_the_head_its_own(
    people: People, reader: SplitReader
) -> None:
    x, keys = batch_of(reader, 9)
    told, untold = gradients(head_of(people, 0.4), x, keys), gradients(head_of(people, -0.4), x, keys)
    assert told.keys() == untold.keys() > {"network.conv1.weight", "network.bn1.bias", "subjects.weight"}
    for name, gradient in told.items():
        sign = 1 if name.startswith("subjects.") else -1
        torch.testing.assert_close(untold[name], sign * gradient)
    assert told["network.conv1.weight"].abs().max() > 1e-4


def test_padding_sample_adds_nothing(people: People, reader: SplitReader) -> None:
    head = head_of(people, 1.0)
    _, keys = batch_of(reader, 4)
    logits = torch.randn(5, people.count)
    targets = head.beside(torch.zeros(5, 2), [*keys, ""])[:, 2:]
    torch.testing.assert_close(head.loss(logits, targets), head.loss(logits[:4], targets[:4]))


def test_a_step_s_loss_is_the_classes_and_the_people_s(shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path, label_smoothing=0.1, mixup=0.0, cutmix=0.0)
    plain, both = Run(config), Run(replace(config, subject_head=0.5))
    assert plain.head is None
    assert plain.learner is plain.model
    assert_equal(dict(both.model.state_dict()), dict(plain.model.state_dict()))  # the head's weights are drawn last
    phase = plain.new_phase(1)
    batch = next(iter(plain.train_batches(phase)))
    said: list[Tensor] = []
    assert both.head is not None
    both.head.register_forward_hook(lambda _, __, out: said.append(out))
    loss, right = train.loop.forward(plain, phase, batch)
    with_people, same = train.loop.forward(both, both.new_phase(1), batch)
    assert right == same
    targets = both.head.beside(torch.zeros(len(batch.keys), 2), batch.keys)[:, 2:]
    wanted = loss + both.head.loss(said[0][:, 2:], targets) / len(batch.keys)
    torch.testing.assert_close(with_people, wanted)
    assert with_people > loss + 0.1


@pytest.mark.parametrize("mixed", ["mixup", "cutmix"])
def test_people_are_mixed_as_classes_are(mixed: str, shards: Path, tmp_path: Path, monkeypatch: Any) -> None:
    run = Run(config_of(shards, tmp_path, subject_head=0.5, **{mixed: 1.0}))
    seen: list[Tensor] = []
    classes: list[Tensor] = []
    monkeypatch.setattr(SubjectHead, "loss", lambda _, said, targets: seen.append(targets) or said.sum())
    monkeypatch.setattr(train.loop, "loss_of", lambda _, said, targets, *__: classes.append(targets) or said.sum())
    phase = run.new_phase(1)
    train.loop.forward(run, phase, next(iter(run.train_batches(phase))))
    torch.testing.assert_close(seen[0].sum(1), torch.ones(len(seen[0])))
    assert ((seen[0] > 0).sum(1) == 2).any()
    assert run.head is not None
    labels, keys = torch.from_numpy(run.train_split.labels), [sample.key for sample in run.train_split.samples]
    beside = run.head.beside(functional.one_hot(labels, 2).float(), keys)
    class_of = (beside[:, 2:].T @ beside[:, :2] > 0).float()  # of each person, whose cells are of one class here
    torch.testing.assert_close(seen[0] @ class_of, classes[0])


def test_it_changes_what_is_learned_and_a_resumed_run_goes_on_with_it(shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path / "whole", batch_size=10, subject_head=-1.0)
    whole = load_checkpoint(train_network(config) / "last.pt")[1]
    plain = load_checkpoint(train_network(replace(config, subject_head=0.0, artifacts=tmp_path / "off")) / "last.pt")[1]
    assert plain["subject_head"] is None
    assert whole["model"].keys() == plain["model"].keys()
    with pytest.raises(AssertionError):
        assert_equal(whole["model"], plain["model"])
    resumed = stopped_and_resumed(replace(config, artifacts=tmp_path / "broken"))
    for name in ("model", "ema", "subject_head", "optimizer"):
        assert_equal({name: resumed[name]}, {name: whole[name]})


def test_a_head_that_is_not_finite_is_not_saved(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, subject_head=0.5))
    assert run.head is not None
    torch.nn.init.constant_(run.head.subjects.weight, float("nan"))
    with pytest.raises(UserError, match="weights are not finite after step 0 of epoch 1"):
        train.loop.save_step(run, run.new_phase(1))


def test_cells_of_unknown_people_are_nobody_s(reader: SplitReader, manifest: Manifest) -> None:
    whole = People(reader, manifest)
    reader.subjects = (None, *reader.subjects[1:])  # type: ignore[misc]
    people = People(reader, manifest)
    keys = [sample.key for sample in reader.samples[:4]]
    assert people.count == whole.count
    assert people.of(keys, -1, CPU).tolist() == [-1, *whole.of(keys[1:], -1, CPU).tolist()]


@pytest.mark.parametrize("known", [0, 1])
def test_where_nobody_is_told_apart_there_is_no_head_and_a_line_says_so(
    known: int, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Manifest, "identity", lambda _, __: "one" if known else None)
    run = Run(config_of(shards, tmp_path, subject_head=0.5))
    assert run.head is None
    assert run.card().training["subject_head"] == 0
    assert f"resnet18: subjects known: {known}, so there is no second head" in capsys.readouterr().out


def test_two_ids_of_one_person_are_that_person(reader: SplitReader, manifest: Manifest) -> None:
    first, second = sorted(set(reader.subjects))[:2]
    joined = replace(manifest, identities={first: f"{first}+{second}", second: f"{first}+{second}"})
    people = People(reader, joined)
    assert people.count == len(set(reader.subjects)) - 1
    keys = [s.key for s, subject in zip(reader.samples, reader.subjects, strict=True) if subject in (first, second)]
    assert len(set(people.of(keys, -1, CPU).tolist())) == 1
