"""Two processes (gloo) learn what one does: the same history within rounding, and the first alone writes."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from equality import assert_equal
from torch import nn

import train.cli
from contract.errors import UserError
from train.batch_norm import SynchronisedBatchNorm, replace_batch_norm
from train.checkpoint import load_checkpoint
from train.history import read_history
from train.processes import Processes, joined_processes, pick_device
from train.resnet import BasicBlock, ResNet

ROOT = Path(__file__).resolve().parents[1]


def two_processes(*words: object) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*start, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("size", "others"), [("2", {}), ("many", {}), ("0", {}), ("2", {"RANK": "0", "LOCAL_RANK": "0"})]
)
def test_variables_that_torchrun_did_not_set_end_in_one_line(
    size: str, others: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (others | {"WORLD_SIZE": size}).items():
        monkeypatch.setenv(name, value)
    said = f"^WORLD_SIZE {size}: several processes are started by torchrun"
    with pytest.raises(UserError, match=said), joined_processes():
        pytest.fail("joined")


def test_two_processes_learn_what_one_does(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 36 samples in batches of 20: halves of 10 and of 8. Half a batch would have other BatchNorm statistics.
    words = ["train", "--shards", shards, "--epochs", 2, "--batch-size", 20, "--lr", 0.02, "--warmup-epochs", 0.5]
    words += ["--device", "cpu", "--no-amp", "--mixup", 0.4, "--blur", 0.5, "--subject-head", 0.5, "--artifacts"]
    monkeypatch.setattr("sys.argv", [*map(str, words), str(tmp_path / "one")])
    train.cli.main()
    two = two_processes("-m", *words, tmp_path / "two")
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("resnet18 epoch 1/2: train ") == 1  # of the first process alone
    histories = [read_history(tmp_path / name / "resnet18" / "history.csv") for name in ("one", "two")]
    for rows in zip(*histories, strict=True):
        found, wanted = ({k: v for k, v in asdict(row).items() if "second" not in k} for row in rows)
        assert found == pytest.approx(wanted, abs=2e-3)
    weights = [torch.load(tmp_path / n / "resnet18" / "last.pt", weights_only=True)["model"] for n in ("one", "two")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=5e-3, atol=5e-3)


STOPPED = """
import os, signal
from dataclasses import replace
import train.loop
from small_network import config_of, small_runs
from train.interrupt import StoppedError
from train.processes import joined_processes

out, taken, forward = pathlib.Path(sys.argv[2]), [], train.loop.forward

def send(*arguments):
    taken.append(1)
    if len(taken) == 2 and not processes.first:
        os.kill(os.getpid(), signal.SIGTERM)
    return forward(*arguments)

with small_runs(), joined_processes() as processes:
    config = config_of(pathlib.Path(sys.argv[1]), out / "whole", mixup=0.4, blur=0.3, erase=0.3)
    config = replace(config, batch_size=14)
    train.loop.train(config, processes)
    config, train.loop.forward = replace(config, artifacts=out / "stopped"), send
    try:
        train.loop.train(config, processes)
    except StoppedError as stopped:
        (out / f"rank{processes.rank}").write_text(str(stopped))
    train.loop.forward = forward
    train.loop.train(replace(config, resume=True), processes)
threads = [name.read_text().strip() for name in pathlib.Path("/proc/self/task").glob("*/comm")]
assert not [name for name in threads if "gloo" in name], threads  # at work while Python ends, one aborts the process
"""


def test_a_signal_to_one_of_two_processes_stops_both_and_they_go_on_as_if_it_had_not(
    shards: Path, tmp_path: Path
) -> None:
    found = _run_worker(STOPPED, tmp_path, shards, tmp_path)
    said = {path.name: path.read_text() for path in tmp_path.glob("rank*")}
    assert said.keys() == {"rank0", "rank1"}, found.stderr
    assert all(text.startswith("resnet18: stopped by SIGTERM after step 2 of 3 of epoch 1") for text in said.values())
    whole, stopped = (load_checkpoint(tmp_path / name / "resnet18" / "last.pt")[1] for name in ("whole", "stopped"))
    assert len(whole["history"]) == 2
    assert_equal({**stopped, "card": None}, {**whole, "card": None})


def _run_worker(text: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run ``text`` in two processes, which can import the project and its tests."""
    worker = folder / "worker.py"
    worker.write_text(f"import pathlib, sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n{text}")
    done = two_processes(worker, *words)
    assert done.returncode == 0, done.stderr
    return done


AGREED = """
import torch
from torch import nn
from contract.manifest import load_manifest
from contract.shard_reader import SplitReader
from train.batch_norm import SynchronisedBatchNorm
from train.group_dro import PeopleWeights
from train.processes import Processes, joined_processes


def batch_norm(processes):
    x, target, cut = torch.randn(7, 3, 4, 5), torch.randn(7, 3, 4, 5), 4
    whole, parted = nn.BatchNorm2d(3), SynchronisedBatchNorm(3)
    for norm in (whole, parted):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    rows = slice(0, cut) if processes.first else slice(cut, 7)  # uneven parts
    a, b = x.clone().requires_grad_(), x[rows].clone().requires_grad_()
    wanted, found = whole(a), parted(b)
    (wanted * target).sum().backward()
    (found * target[rows]).sum().backward()
    torch.testing.assert_close(found, wanted[rows])
    torch.testing.assert_close(b.grad, a.grad[rows])
    torch.testing.assert_close(processes.total(parted.weight.grad), whole.weight.grad)
    torch.testing.assert_close(processes.total(parted.bias.grad), whole.bias.grad)
    torch.testing.assert_close(parted.running_var, whole.running_var)
    torch.testing.assert_close(parted.running_mean, whole.running_mean)
    assert parted.num_batches_tracked == 1
    torch.testing.assert_close(parted.eval()(x), whole.eval()(x))


def exchange(processes):
    assert processes.largest(3 + processes.rank) == 4
    assert processes.gathered([processes.rank]) == [[0], [1]]


def people(processes):
    manifest = load_manifest(shards)
    reader = SplitReader(shards, manifest, "train")
    whole, parted = (PeopleWeights(reader, manifest, 0.5, torch.device("cpu")) for _ in range(2))
    order = torch.randperm(len(reader), generator=torch.Generator().manual_seed(0)).tolist()
    rows = slice(0, 7) if processes.first else slice(7, 12)  # uneven parts
    for start in (0, 12, 24):
        keys = [reader.samples[position].key for position in order[start:start + 12]]
        losses = torch.linspace(0.1, 2, 12) * (start + 1)
        wanted = whole.of_batch(losses, keys, Processes())
        torch.testing.assert_close(parted.of_batch(losses[rows], keys[rows], processes), wanted[rows])
        torch.testing.assert_close(parted.weights, whole.weights)
    assert parted.weights.max() > 1.5 * parted.weights.min()


torch.manual_seed(0)
shards = pathlib.Path(sys.argv[1])
with joined_processes() as processes:
    for check in (batch_norm, exchange, people):
        check(processes)
        pathlib.Path(sys.argv[2], f"{check.__name__}{processes.rank}").write_text("agreed")
"""


def test_in_two_processes_batch_norm_is_that_of_the_whole_batch_and_people_weigh_as_in_one(
    shards: Path, tmp_path: Path
) -> None:
    _run_worker(AGREED, tmp_path, shards, tmp_path)
    for check in ("batch_norm", "exchange", "people"):
        assert [(tmp_path / f"{check}{rank}").read_text() for rank in range(2)] == ["agreed"] * 2


def test_replaced_batch_norm_keeps_names_weights_statistics_and_settings() -> None:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, (1, 1, 1, 1), 2)
    network.bn1.eps, network.bn1.momentum = 1e-3, 0.25
    network(torch.randn(2, 3, 40, 40))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    replaced = replace_batch_norm(network, SynchronisedBatchNorm)
    assert [type(m) for m in replaced.modules() if isinstance(m, nn.BatchNorm2d)] == [SynchronisedBatchNorm] * 12
    assert replaced.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in replaced.state_dict().items())
    assert (network.bn1.eps, network.bn1.momentum) == (1e-3, 0.25)


def test_one_process_needs_no_network() -> None:
    processes, network = Processes(), nn.Linear(2, 2)
    assert processes.first
    assert processes.largest(5) == 5
    assert processes.gathered("a") == ["a"]
    assert processes.total(torch.tensor(2.5)) == 2.5
    assert processes.shared(network, torch.device("cpu")) is network
    assert processes.synchronised(network, torch.device("cpu")) is network


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_takes_the_cpu() -> None:
    with pytest.raises(UserError, match="--device cuda: no usable GPU"):
        pick_device("cuda")
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert pick_device("auto", 1) == torch.device("cuda", 1)
    assert chosen == [1]
    assert pick_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda: process 2 has no GPU of its own: 2 here"):
        pick_device("cuda", 2)


def test_each_process_knows_its_number_among_all_and_on_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "4"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "0")):  # the first of a second machine
        monkeypatch.setenv(name, value)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda *_: None)
    with joined_processes() as joined:
        assert (joined.rank, joined.ranks, joined.local_rank) == (4, 8, 0)
        assert not joined.first  # which writes and prints
