"""The robust loss beside algorithm 1 of Sagawa et al. written plainly; its state in checkpoints; what it refuses."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from equality import assert_equal
from small_network import config_of, stopped_and_resumed

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.checkpoint import load_checkpoint
from train.group_dro import PeopleWeights
from train.loop import loss_of
from train.loop import train as train_network
from train.objective import cross_entropy, sample_losses, targets_of
from train.processes import Processes
from train.run import Run

pytestmark = pytest.mark.usefixtures("small_networks")
CPU = torch.device("cpu")


@pytest.fixture
def people(reader: SplitReader, manifest: Manifest) -> PeopleWeights:
    return PeopleWeights(reader, manifest, 0.5, CPU)


def person_of(reader: SplitReader, manifest: Manifest, position: int) -> str:
    return str(manifest.identity(reader.subjects[position]))


def test_robust_loss_is_that_of_the_paper_s_algorithm(
    people: PeopleWeights, reader: SplitReader, manifest: Manifest
) -> None:
    names = sorted({person_of(reader, manifest, i) for i in range(len(reader))})
    weights = dict.fromkeys(names, 1 / len(names))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        positions = torch.randperm(len(reader), generator=generator)[:11].tolist()
        losses = 3 * torch.rand(11, generator=generator)
        of_person: dict[str, list[float]] = {}
        for position, loss in zip(positions, losses.tolist(), strict=True):
            of_person.setdefault(person_of(reader, manifest, position), []).append(loss)
        means = {name: sum(found) / len(found) for name, found in of_person.items()}
        weights = {name: weight * math.exp(0.5 * means.get(name, 0.0)) for name, weight in weights.items()}
        weights = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        wanted = sum(weights[name] * mean for name, mean in means.items())
        keys = [reader.samples[position].key for position in positions]
        found = (losses * people.of_batch(losses, keys, Processes())).sum()
        assert found.item() == pytest.approx(wanted, rel=1e-6)
        assert people.weights.tolist() == pytest.approx([weights[name] for name in names])
    assert max(weights.values()) > 1.5 * min(weights.values())


def test_padding_sample_has_no_weight(people: PeopleWeights, reader: SplitReader) -> None:
    keys = [sample.key for sample in reader.samples[:5]]
    shares = people.of_batch(torch.ones(6), [*keys, ""], Processes())
    assert shares[5] == 0
    assert (shares[:5] > 0).all()


def test_off_it_is_the_plain_mean_and_losses_of_samples_add_up(shards: Path, tmp_path: Path) -> None:
    logits, labels = torch.randn(12, 2, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 2
    targets, weights = targets_of(labels, 2), torch.tensor([0.5, 2.0])
    losses = sample_losses(logits, targets, weights, 0.1)
    torch.testing.assert_close(losses.sum(), cross_entropy(logits, targets, weights, 0.1))
    run = Run(config_of(shards, tmp_path))
    assert run.people is None
    keys = [sample.key for sample in run.train_split.samples[:12]]
    assert torch.equal(loss_of(run, logits, targets, keys, 12), cross_entropy(logits, targets, None, 0.1))


def test_it_changes_what_is_learned_and_a_resumed_run_goes_on_with_its_weights(shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path / "whole", batch_size=10, group_dro=2.0)
    whole = load_checkpoint(train_network(config) / "last.pt")[1]
    plain = load_checkpoint(train_network(replace(config, group_dro=0.0, artifacts=tmp_path / "off")) / "last.pt")[1]
    assert plain["people"] is None
    assert whole["people"].sum().item() == pytest.approx(1)
    assert whole["people"].max() > 1.1 * whole["people"].min()
    with pytest.raises(AssertionError):
        assert_equal(whole["model"], plain["model"])
    resumed = stopped_and_resumed(replace(config, artifacts=tmp_path / "broken"))
    for name in ("model", "ema", "people"):
        assert_equal({name: resumed[name]}, {name: whole[name]})


def test_mixed_images_and_unknown_people_are_refused(
    shards: Path, reader: SplitReader, manifest: Manifest, tmp_path: Path
) -> None:
    for mixed in ({"mixup": 0.4}, {"cutmix": 1.0}):
        with pytest.raises(UserError, match=r"--group-dro 0.1: not with --mixup or --cutmix"):
            config_of(shards, tmp_path, group_dro=0.1, **mixed)
    with pytest.raises(UserError, match="--group-dro -1: must be 0 or more"):
        config_of(shards, tmp_path, group_dro=-1)
    reader.subjects = (None, *reader.subjects[1:])  # type: ignore[misc]
    with pytest.raises(UserError, match=f"--group-dro: sample '{reader.samples[0].key}' has no subject"):
        PeopleWeights(reader, manifest, 0.1, CPU)


def test_the_loss_of_a_step_is_the_robust_one_of_smoothed_and_weighted_losses(shards: Path, tmp_path: Path) -> None:
    run = Run(config_of(shards, tmp_path, group_dro=0.5, class_weights=True, label_smoothing=0.2))
    logits, labels = torch.randn(12, 2, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 2
    targets, keys = targets_of(labels, 2), [sample.key for sample in run.train_split.samples[:12]]
    losses = sample_losses(logits, targets, run.loss_weights, 0.2)
    weights = PeopleWeights(run.train_split, run.manifest, 0.5, CPU).of_batch(losses, keys, Processes())
    # A step divides it by the samples of the whole batch, of which another process may have half.
    torch.testing.assert_close(loss_of(run, logits, targets, keys, 24), 24 * (losses * weights).sum())
