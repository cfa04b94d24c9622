"""What a run shows while it goes on: a progress bar, a line an epoch, and curves for TensorBoard."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from contract.errors import UserError
from train.history import Epoch
from train.run import Phase, Run
from train.schedule import all_epochs

FOLDER = "tensorboard"
CURVES = {
    "loss/train": "train_loss",
    "loss/valid": "valid_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/valid": "valid_accuracy",
    "auroc/valid": "valid_auroc",
    "f1/valid": "valid_f1",
    "run/learning rate": "lr",
    "run/size": "size",
    "run/images per second": "images_per_second",
}


@contextmanager
def curves(run: Run) -> Iterator[SummaryWriter | None]:
    """A writer of TensorBoard events in the run's folder; none on all processes but the first.

    A resumed run goes on after its last epoch, a new one drops what was there. Raises ``UserError`` where the folder
    cannot be written.
    """
    if not run.processes.first:
        yield None
        return
    with _open_writer(run) as writer:
        yield writer


def _open_writer(run: Run) -> SummaryWriter:
    folder = run.folder / FOLDER
    try:
        if not run.history and folder.exists():
            shutil.rmtree(folder)
        return SummaryWriter(str(folder), purge_step=len(run.history) + 1)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None


def show(run: Run, writer: SummaryWriter | None) -> None:
    """Print the line of the last epoch and write its point of every curve."""
    if writer is None:
        return
    row = run.history[-1]
    for name, field in CURVES.items():
        if math.isfinite(getattr(row, field)):
            writer.add_scalar(name, getattr(row, field), row.epoch)
    writer.flush()
    print(f"{run.config.arch} epoch {row.epoch}/{all_epochs(run.config)}: {summary(row)}", flush=True)


def summary(row: Epoch) -> str:
    """An epoch in one line."""
    speed = f"{row.size} px, {row.images_per_second:.0f} images/s, {row.seconds:.0f} s"
    if not row.validated:
        return f"train + valid {row.train_accuracy:.2%} (loss {row.train_loss:.4f}), not validated, {speed}"
    return (
        f"train {row.train_accuracy:.2%}, valid {row.valid_accuracy:.2%} (AUROC {row.valid_auroc:.4f}, "
        f"F1 {row.valid_f1:.4f}; loss {row.train_loss:.4f}, {row.valid_loss:.4f}), {speed}"
    )


def progress_bar(run: Run, phase: Phase) -> tqdm:
    """A bar of the epoch's images with images/s; on a terminal only, and only of the first process."""
    return tqdm(
        desc=f"{run.config.arch} epoch {phase.epoch}/{all_epochs(run.config)}, {phase.size} px",
        total=run.samples,
        initial=min(phase.step * run.config.batch_size, run.samples),
        unit=" images",
        leave=False,
        disable=None if run.processes.first else True,
    )
