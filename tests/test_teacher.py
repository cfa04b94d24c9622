"""What a teacher says beside the plain formula; what it is shown, what a card says of it, and which are refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from equality import assert_equal
from small_network import SmallNetwork, config_of

import train.cli
import train.teacher
from contract.errors import UserError
from contract.publish import file_sha256
from train.checkpoint import load_checkpoint, save_checkpoint
from train.loop import forward
from train.loop import train as train_network
from train.run import Run
from train.teacher import Teacher

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module", autouse=True)
def _small_teachers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(train.teacher, "build_apart", lambda _, channels=3: SmallNetwork(channels))
        yield


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a run on the same shards with another seed. Read only."""
    return train_network(config_of(shards, tmp_path_factory.mktemp("teacher"), seed=7)) / "best.pt"


def test_targets_go_a_share_of_the_way_to_what_the_teacher_says() -> None:
    torch.manual_seed(0)
    network, x = SmallNetwork().eval(), torch.randn(3, 3, 32, 32)
    targets = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]])
    found = Teacher(network, 0.3, "").soften(targets, x, torch.autocast("cpu", enabled=False))
    said = network(x).softmax(1)
    torch.testing.assert_close(found[:2], 0.7 * targets[:2] + 0.3 * said[:2])
    assert_equal(found[2], torch.zeros(2))
    assert not found.requires_grad
    assert not torch.equal(said[0], said[1])


def test_the_loss_of_a_run_is_that_of_softened_targets(trained: Path, shards: Path, tmp_path: Path) -> None:
    config = config_of(shards, tmp_path, label_smoothing=0.0, teacher=trained, teacher_share=1.0, affine=0.0)
    run = Run(config)
    batch = next(iter(run.train_batches(run.new_phase(1))))
    phase = run.new_phase(1)
    loss, _ = forward(run, phase, batch)
    x = run.augment(batch.images, run.normalise, run.draws(phase))
    assert run.teacher is not None
    wanted = -(run.teacher.network(x).softmax(1) * run.model(x).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, wanted)


def test_the_teacher_sees_images_of_its_own_size_and_learns_nothing(
    trained: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(config_of(shards, tmp_path, teacher=trained, start_size=36))
    assert run.teacher is not None
    sizes: list[int] = []
    soften = Teacher.soften

    def noted(self: Teacher, targets: torch.Tensor, x: torch.Tensor, autocast: torch.autocast) -> torch.Tensor:
        sizes.append(x.shape[-1])
        return soften(self, targets, x, autocast)

    monkeypatch.setattr(Teacher, "soften", noted)
    phase = run.new_phase(1)
    assert phase.size == 36
    loss, _ = forward(run, phase, next(iter(run.train_batches(phase))))
    loss.backward()
    assert sizes == [run.manifest.recipe.size] != [36]
    assert_equal(run.teacher.network.state_dict(), load_checkpoint(trained)[1]["model"])
    assert all(p.grad is None for p in run.teacher.network.parameters())
    assert all(p.grad is not None for p in run.model.parameters())


def test_it_changes_what_is_learned_unless_its_share_is_zero(trained: Path, shards: Path, tmp_path: Path) -> None:
    def learned(name: str, **changes: object) -> dict[str, torch.Tensor]:
        folder = train_network(config_of(shards, tmp_path / name, **changes))
        return load_checkpoint(folder / "last.pt")[1]["model"]

    plain = learned("plain")
    assert_equal(learned("none", teacher=trained, teacher_share=0.0), plain)
    with pytest.raises(AssertionError):
        assert_equal(learned("taught", teacher=trained), plain)


def test_the_card_names_the_teacher_and_a_resumed_run_needs_the_same(
    trained: Path, shards: Path, tmp_path: Path
) -> None:
    config = config_of(shards, tmp_path / "run", teacher=trained)
    card, _ = load_checkpoint(train_network(config) / "best.pt")
    epoch = load_checkpoint(trained)[0].epoch
    assert card.training["teacher"] == f"resnet18, epoch {epoch}, SHA-256 {file_sha256(trained)}"
    assert Run(replace(config, teacher=None)).card().training["teacher"] == ""
    moved = tmp_path / "moved.pt"
    moved.write_bytes(trained.read_bytes())
    train_network(replace(config, teacher=moved, resume=True))  # the content counts, not the path: nothing differs
    with pytest.raises(UserError, match=r"these differ: teacher resnet18, epoch ., SHA-256 .* -> ; --force"):
        train_network(replace(config, teacher=None, resume=True))
    with pytest.raises(UserError, match=r"these differ: teacher_share 0\.75 -> 0\.5; --force"):
        train_network(replace(config, teacher_share=0.5, resume=True))


def test_teachers_that_see_other_images_or_may_have_seen_other_cells_are_refused(
    trained: Path, shards: Path, tmp_path: Path
) -> None:
    card, state = load_checkpoint(trained)
    other = tmp_path / "other.pt"
    config = config_of(shards, tmp_path, teacher=other)
    changes = {
        "does not see what this run shows, these differ: the shards' manifest 000000000000 -> ": {
            "manifest_digest": "0" * 64
        },
        "these differ: standardise False -> True": {"training": card.training | {"standardise": False}},
        "these differ: colours False -> True": {"training": card.training | {"colours": False}},
        r"these differ: classes \('a', 'b'\) -> \('normal', 'blast'\)": {"classes": ("a", "b")},
        r"learned valid too \(--refit\): nothing would be left": {"training": card.training | {"refit": True}},
    }
    for message, change in changes.items():
        save_checkpoint(other, replace(card, **change), {"model": state["model"]})  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"--teacher {other}: .*{message}"):
            Run(config)
    save_checkpoint(other, replace(card, training=card.training | {"refit": True}), {"model": state["model"]})
    assert Run(replace(config, refit=True)).teacher is not None
    save_checkpoint(other, card, {"model": {"weight": torch.zeros(3)}})
    with pytest.raises(UserError, match=r"other\.pt: its weights 'model' do not fit the network"):
        Run(config)
    with pytest.raises(UserError, match="no such file"):
        Run(replace(config, teacher=tmp_path / "none.pt"))
    with pytest.raises(UserError, match=r"--teacher-share 1\.5: must be between 0 and 1"):
        config_of(shards, tmp_path, teacher_share=1.5)


def test_where_nothing_is_standardised_a_teacher_of_three_channels_sees_what_the_run_shows(
    trained: Path, shards: Path, tmp_path: Path
) -> None:
    card, _ = load_checkpoint(trained)
    plain = replace(card, training=card.training | {"standardise": False})
    assert plain.training["colours"]
    save_checkpoint(tmp_path / "plain.pt", plain, {"model": SmallNetwork().state_dict()})
    run = Run(config_of(shards, tmp_path, teacher=tmp_path / "plain.pt", standardise=False))
    assert run.teacher is not None
    assert run.normalise.channels == 3


def test_a_teacher_that_the_run_would_overwrite_is_refused(shards: Path, tmp_path: Path) -> None:
    # After its first epoch no checkpoint could be resumed: the teacher would be another.
    own = tmp_path / "resnet18" / "best.pt"
    with pytest.raises(UserError, match=f"--teacher {own}: lies in the folder that this run writes"):
        Run(config_of(shards, tmp_path, teacher=own))


def test_the_last_of_three_networks_is_refused_its_own_teacher_before_the_first_is_trained(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "resnet152" / "best.pt"
    words = ["--arch", "all", "--shards", str(shards), "--artifacts", str(tmp_path), "--teacher", str(own)]
    monkeypatch.setattr("sys.argv", ["train", *words])
    monkeypatch.setattr(train.cli, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=f"--teacher {own}: lies in the folder that this run writes"):
        train.cli.main()
