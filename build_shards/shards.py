"""Write a dataset as WebDataset shards: worker processes write them beside their place, the manifest comes last.

A build stages its shards in ``.building-<digest>/`` inside the output folder, named after everything that decides its
bytes but the sources' own. Killed at any moment, the same command finds that folder, takes up its whole shards, each
only if its sources are still the same to the byte, and goes on.
"""

import csv
import io
import json
import os
import shutil
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from build_shards.dataset import Dataset
from build_shards.finished import finished_build
from build_shards.plan import ShardPlan, plan_shards
from build_shards.pool import WorkerPool
from build_shards.shard_writer import Job, ShardResult, Skipped, write_shard
from build_shards.sources import COLUMNS, SKIPPED
from build_shards.stain_target import fit_recipe
from build_shards.summary import make_manifest
from contract.errors import ANEW, UserError
from contract.files import unreadable
from contract.lock import locked_folder
from contract.manifest import NAME, Manifest, load_manifest
from contract.publish import file_sha256, publish_text, refuse_folders, text_sha256
from contract.recipe import Recipe

INFO = "_info.json"  # what timm's WebDataset reader looks for
LOCK = ".lock"


def build(
    dataset: Dataset,
    recipe: Recipe,
    folder: Path,
    workers: int,
    *,
    force: bool,
    multiple_of: int = 1,
    skip_bad: bool = False,
) -> tuple[Manifest, bool]:
    """Write the shards of ``dataset`` and their manifest into ``folder``; returns it, and whether it was built now.

    A finished build of the same sources (to the byte) and recipe is left as it is. Bytes do not depend on ``workers``,
    nor on being interrupted. Raises ``UserError`` when ``folder`` holds another build and not ``force``, when another
    build is at work there, and for any bad image unless ``skip_bad`` (then it is listed in skipped.csv); an error
    leaves nothing of this build behind.
    """
    plans = plan_shards(dataset, multiple_of)
    if not force and _has_manifest(folder):
        manifest = finished_build(dataset, recipe, plans, folder, workers, skip_bad)
        if any(folder.glob(".building-*")) or (folder / LOCK).exists():  # killed after it had published
            with _locked(folder):
                _clear_staging(folder, None)
        return manifest, False
    ours = not folder.exists()
    try:
        with _locked(folder):
            manifest = _build(dataset, recipe, plans, folder, workers, force=force, skip_bad=skip_bad)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        if ours and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return manifest, True


def _build(
    dataset: Dataset,
    recipe: Recipe,
    plans: list[ShardPlan],
    folder: Path,
    workers: int,
    *,
    force: bool,
    skip_bad: bool,
) -> Manifest:
    staging = folder / f".building-{_digest(dataset, recipe, plans, skip_bad)}"
    _clear_staging(folder, staging)
    staging.mkdir(exist_ok=True)
    try:
        with WorkerPool(workers) as pool:
            fitted = fit_recipe(dataset, recipe, skip_bad, pool)
            results = _write_shards([Job(plan, fitted, staging, skip_bad) for plan in plans], pool)
        manifest = make_manifest(dataset, fitted, results)
        _publish(staging, folder, manifest, [s for result in results for s in result.skipped], force=force)
    except (Exception, SystemExit):
        shutil.rmtree(staging, ignore_errors=True)  # Ctrl-C, SIGTERM and SIGKILL leave it: the next build goes on
        raise
    shutil.rmtree(staging)
    return manifest


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / NAME).exists()
    except OSError as error:  # a folder that may not be entered
        raise unreadable(folder, error) from None


def _clear_staging(folder: Path, kept: Path | None) -> None:
    for path in folder.glob(".building-*"):
        if path != kept:
            shutil.rmtree(path)


def _digest(dataset: Dataset, recipe: Recipe, plans: list[ShardPlan], skip_bad: bool) -> str:
    """Names everything that decides the bytes of the shards: sources, recipe, plan, and the encoder."""
    encoder = version("opencv-python")
    return text_sha256(json.dumps([dataset.digest, recipe.to_json(), len(plans), skip_bad, encoder]))[:16]


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder's lock: two builds at work in one folder would publish a mixture."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{folder}: cannot be locked: {error.strerror}") from None

    return locked_folder(folder, "another build is at work there", refuse, LOCK)


def _write_shards(jobs: list[Job], pool: WorkerPool) -> list[ShardResult]:
    total = sum(len(job.plan.keyed_cells) for job in jobs)
    results = []
    with tqdm(total=total, unit="cell", desc="shards", disable=None) as bar:
        for result in pool.map_in_order(write_shard, jobs):
            bar.update(result.shard.samples + len(result.skipped))
            results.append(result)
    return results


def _publish(staging: Path, folder: Path, manifest: Manifest, skipped: list[Skipped], *, force: bool) -> None:
    """Move the shards into place: everything is written before, the old manifest goes first, the new one comes last.

    Only files that the old manifest lists are removed. A tar that no manifest lists is overwritten when it has the
    same bytes (a build killed while publishing) or with ``force``. Shards are linked, not moved, so that a build
    killed here finds them in its staging folder again.
    """
    old = _listed(folder)
    refuse_folders([*old, *(folder / name for name in (*(s.name for s in manifest.shards), SKIPPED, INFO, NAME))])
    for shard in manifest.shards:
        path = folder / shard.name
        if not old and path.exists() and not force and file_sha256(path) != shard.sha256:
            raise UserError(f"{path}: is there already, and no manifest lists it: move it, or {ANEW} overwrites it")
    texts = {SKIPPED: _skipped_csv(skipped)} if skipped else {}
    texts |= {INFO: _info_json(manifest), NAME: manifest.to_json()}
    for name, text in texts.items():
        publish_text(staging / name, text)  # the last bytes written: from here on files are only renamed
    links = {shard.name: _linked(staging / shard.name) for shard in manifest.shards}
    for path in old:
        path.unlink(missing_ok=True)
    for name, link in links.items():
        os.replace(link, folder / name)
    (folder / SKIPPED).unlink(missing_ok=True)
    for name in texts:
        os.replace(staging / name, folder / name)


def _linked(path: Path) -> Path:
    """A second name of a file, beside it; a copy where the file system has no hard links."""
    link = path.with_name(f"{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        shutil.copyfile(path, link)
    return link


def _listed(folder: Path) -> list[Path]:
    """The manifest that is there, if any, and the shards that it lists; alone where it is damaged."""
    if not _has_manifest(folder):
        return []
    try:
        return [folder / NAME, *(folder / shard.name for shard in load_manifest(folder).shards)]
    except UserError:
        return [folder / NAME]


def _skipped_csv(skipped: list[Skipped]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([s.source, s.split, s.reason, s.sha256] for s in skipped)
    return text.getvalue()


def _info_json(manifest: Manifest) -> str:
    """The index that timm's ``ReaderWds`` reads: files and lengths of every split."""
    splits = {}
    for split in manifest.splits:
        shards = [shard for shard in manifest.shards if shard.split == split.name]
        splits[split.name] = {
            "name": split.name,
            "num_samples": split.samples,
            "filenames": [shard.name for shard in shards],
            "shard_lengths": [shard.samples for shard in shards],
        }
    return json.dumps({"splits": splits}, indent=2) + "\n"
