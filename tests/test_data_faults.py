"""Damaged samples, dead workers, too little memory: one line that names the sample, and nothing hangs."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import active_children, get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tars import Members, members_of, tar_bytes

from contract.errors import UserError
from contract.manifest import Manifest
from contract.shard_reader import SplitReader
from train.batch_plan import PAD
from train.cache import RamCache
from train.data import train_batches
from train.workers import _refuse_dead, loader_context

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60  # seconds after which a test of "nothing hangs" has failed


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that waits looks five times a second whether its workers live; torch's default is once in 5 s."""
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    assert _MultiProcessingDataLoaderIter._try_get_data.__defaults__ == (5.0,)
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


@pytest.fixture(autouse=True)
def _nothing_hangs() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise TimeoutError(f"the loader hung for {PATIENCE} s")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def spoil(shards: Path, manifest: Manifest, folder: Path, key: str) -> SplitReader:
    """A copy of the training split in which one sample's image is no image, listed so in the manifest."""
    shutil.copytree(shards, folder)
    listed = []
    for shard in manifest.shards:
        members = [(n, b"no image" if n == f"{key}.png" else data) for n, data in members_of(folder / shard.name)]
        listed.append(replace(shard, **write_tar(folder / shard.name, members)))
    return SplitReader(folder, replace(manifest, shards=tuple(listed)), "train")


def write_tar(path: Path, members: Members) -> dict[str, object]:
    data = tar_bytes(members)
    path.write_bytes(data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def do_at(monkeypatch: pytest.MonkeyPatch, key: str, act: Callable[[], object]) -> None:
    """Let whoever decodes the sample ``key`` do something else first."""
    decode = SplitReader.image

    def image(self: SplitReader, position: int) -> np.ndarray:
        if self.samples[position].key == key:
            act()
        return decode(self, position)

    monkeypatch.setattr(SplitReader, "image", image)


def kill_me(signum: int) -> Callable[[], object]:
    parent = os.getpid()

    def act() -> None:
        assert os.getpid() != parent, "the training process itself would be killed"
        os.kill(os.getpid(), signum)

    return act


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_damaged_sample_is_named_by_every_number_of_workers(
    shards: Path, manifest: Manifest, tmp_path: Path, workers: int, cache: bool
) -> None:
    reader = spoil(shards, manifest, tmp_path / "shards", "train-000017")
    with pytest.raises(UserError) as caught:
        list(train_batches(reader, 5, 0, 1, workers, pin=False, cache=RamCache(reader) if cache else None))
    shard = next(sample.shard for sample in reader.samples if sample.key == "train-000017")
    assert str(caught.value).startswith(f"{shard}: train-000017.png is not a 40 px colour image")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_killed_worker_names_the_sample_it_was_at(
    reader: SplitReader, monkeypatch: pytest.MonkeyPatch, workers: int, cache: bool
) -> None:
    do_at(monkeypatch, "train-000017", kill_me(signal.SIGKILL))
    shard = next(sample.shard for sample in reader.samples if sample.key == "train-000017")
    wanted = rf"{shard}: train-000017: a worker of the loader was killed \(SIGKILL\)"
    with pytest.raises(UserError, match=wanted):
        list(train_batches(reader, 5, 0, 1, workers, pin=False, cache=RamCache(reader) if cache else None))


def test_a_dead_worker_is_named_with_its_own_sample_and_with_none_before_its_first(reader: SplitReader) -> None:
    status: Any = SimpleNamespace(array=np.array([[11, 7], [22, 3], [33, PAD]]))
    for pid, where in ((22, reader.name(3)), (33, "split 'train'"), (44, "split 'train'")):
        workers: Any = {11: SimpleNamespace(exitcode=None), pid: SimpleNamespace(exitcode=-9)}
        with pytest.raises(UserError, match=f"^{re.escape(where)}: a worker of the loader was killed"):
            _refuse_dead(workers, reader, status)


def test_a_worker_killed_from_outside_ends_the_epoch_and_its_siblings(reader: SplitReader) -> None:
    others = set(active_children())
    batches = iter(train_batches(reader, 2, 0, 1, 2, pin=False))
    next(batches)
    next(batches)  # so that both have worked
    first, second = set(active_children()) - others
    os.kill(first.pid, signal.SIGKILL)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"train-\d{6}\.tar: train-\d{6}: a worker of the loader was killed"):
        list(batches)
    del batches
    second.join(PATIENCE)
    assert second.exitcode is not None


def test_workers_can_be_told_to_end_after_some_were_killed_while_they_asked() -> None:
    done = loader_context().Event()
    for _ in range(20):  # with multiprocessing's own event one of the first few leaves its lock taken
        asking = get_context("fork").Process(target=_ask, args=(done,), daemon=True)
        asking.start()
        time.sleep(0.02)
        asking.kill()
        asking.join(PATIENCE)
        assert not done.is_set()
    done.set()
    assert done.is_set()


def _ask(done: Event) -> None:
    while True:
        done.is_set()


def test_the_death_of_a_worker_does_not_interrupt_the_training_step(reader: SplitReader) -> None:
    # A handler of SIGCHLD would raise at whatever line the step is; torch sets one.
    others = set(active_children())
    batches = iter(train_batches(reader, 1, 0, 1, 1, pin=False))
    next(batches)
    (worker,) = set(active_children()) - others
    os.kill(worker.pid, signal.SIGKILL)  # type: ignore[arg-type]
    while os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:  # type: ignore[arg-type]
        torch.ones(10).sum()  # a busy machine takes its time to end a process
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        torch.ones(10).sum()
    with pytest.raises(UserError, match="killed"):
        next(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unexpected_error_names_the_sample_too(
    reader: SplitReader, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def act() -> None:
        raise MemoryError("no more")

    do_at(monkeypatch, "train-000017", act)
    with pytest.raises(RuntimeError, match=r"train-\d{6}\.tar: train-000017: MemoryError: no more"):
        list(train_batches(reader, 5, 0, 1, workers, pin=False))


def test_an_epoch_left_early_leaves_no_worker_behind(reader: SplitReader) -> None:
    others = set(active_children())
    batches = iter(train_batches(reader, 2, 0, 1, 2, pin=False))
    next(batches)
    workers = set(active_children()) - others
    batches.close()  # type: ignore[attr-defined]
    assert len(workers) == 2
    assert not workers & set(active_children())


@pytest.mark.parametrize("watch", ["as it is", "lambda self: True"])  # torch's own; one that began too late
def test_a_killed_training_process_takes_its_workers_along(shards: Path, watch: str) -> None:
    late = "" if watch == "as it is" else f"worker.ManagerWatchdog.is_alive = {watch}"
    code = f"""
        import time
        from torch.utils.data._utils import worker
        {late}
        from multiprocessing import active_children
        from pathlib import Path
        from contract.manifest import load_manifest
        from train.data import RamCache, open_labelled, train_batches
        shards = Path({str(shards)!r})
        reader = open_labelled(shards, load_manifest(shards), "train")
        batches = iter(train_batches(reader, 1, 0, 1, 2, pin=False, cache=RamCache(reader)))
        next(batches)
        print(*(child.pid for child in active_children()), flush=True)
        time.sleep(600)
    """
    code = textwrap.dedent(code)
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as training:
        workers = [int(pid) for pid in training.stdout.readline().split()]  # type: ignore[union-attr]
        training.kill()
    assert len(workers) == 2
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid) for pid in workers):
        time.sleep(0.1)  # a worker looks for its parent every 5 s


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_worker_that_ends_by_itself_names_the_sample_it_was_at(
    reader: SplitReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()
    do_at(monkeypatch, "train-000017", lambda: os.getpid() == parent or os._exit(3))
    with pytest.raises(UserError, match=r"train-000017: a worker of the loader ended with status 3 here"):
        list(train_batches(reader, 5, 0, 1, 2, pin=False))


def test_a_loader_works_outside_the_main_thread_where_no_handler_can_be_set(reader: SplitReader) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(train_batches(reader, 12, 0, 1, 1, pin=False)))
    thread.start()
    thread.join(PATIENCE)
    assert len(found) == 3
