"""What an audit leaves: tables on the terminal, ``audit.json``, ``twins.csv`` and the picture ``twins.png``."""

import csv
import io
from collections import Counter
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from build_shards.audit import OUTLIER, Audit, Twin
from build_shards.audit_figure import draw_twins
from build_shards.dataset import Dataset
from contract.counted import counted
from contract.publish import publish_together
from contract.record import to_json


def write_audit(audit: Audit, dataset: Dataset, folder: Path) -> None:
    """Write ``audit.json``, ``twins.csv`` and ``twins.png`` into ``folder``, all of this audit or none."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(Twin)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(twin) for twin in audit.twins)
    files = {cell.source: cell.file for cell in dataset.cells}
    shown = telling(audit)
    title = f"{audit.dataset}: {counted(len(audit.twins), 'twin')}"
    written = {"twins.csv": table.getvalue().encode(), "twins.png": draw_twins(shown, files, title)}
    publish_together(folder, written | {"audit.json": to_json(audit).encode()}, "audit.json")


def telling(audit: Audit, most: int = 24) -> tuple[Twin, ...]:
    """The pairs to check by eye: every two ids' best and least alike, then the least alike that cross into train,
    then the least alike of all."""
    by_ids: dict[tuple[str, ...], list[Twin]] = {}
    for twin in sorted(audit.twins, key=lambda twin: twin.correlation):
        if twin.first_subject != twin.second_subject and None not in (twin.first_subject, twin.second_subject):
            by_ids.setdefault(tuple(sorted((str(twin.first_subject), str(twin.second_subject)))), []).append(twin)
    weakest = sorted(audit.twins, key=lambda twin: twin.correlation)
    crossing = [t for t in weakest if (t.first_split == "train") != (t.second_split == "train")]
    half = [pairs[0] for pairs in by_ids.values()] + [pairs[-1] for pairs in by_ids.values()]
    order = half[: most * 2 // 3] + crossing[: most // 6] + weakest + half
    return tuple(dict.fromkeys(order))[:most]


def print_audit(audit: Audit) -> None:
    """Print the audit as tables."""
    console = Console(width=max(100, Console().width), markup=False, emoji=False)  # brackets and colons are of names
    console.print(_split_table(audit))
    if audit.links:
        console.print(_link_table(audit))
    identical = sum(twin.identical for twin in audit.twins)
    for split in audit.splits:
        if split.twins_in_train:
            console.print(f"{split.twins_in_train} of the {split.cells} images of {split.name} have a twin in train")
    kinds = Counter(outlier.kind for outlier in audit.outliers)
    console.print(
        f"{counted(len(audit.twins), 'twin')} (two images of one cell): {counted(identical, 'identical file')}, "
        f"{len(audit.twins) - identical} near-identical; {audit.label_conflicts} of them with two labels"
    )
    console.print(
        f"how sure: of {audit.chance.pairs} pairs with one side mirrored {audit.chance.mirrored_twins} pass as twins "
        f"(highest correlation {audit.chance.highest:.3f}, twins are {audit.threshold} and above)"
    )
    console.print(f"outliers: {kinds['size']} in size, {kinds['stain']} in stain (robust z above {OUTLIER})")
    for people in audit.identities:
        console.print(f"one person: {' = '.join(people)}")


def _split_table(audit: Audit) -> Table:
    columns = ("split", "cells", "normal", "blast", "subjects", "ids in\ntrain", "people\nin train")
    table = Table(title=f"{audit.dataset}: splits")
    # the breaks keep it within 100 columns: else words are cut
    for name in (*columns, "identical\nin train", "twins in\ntrain", "twins\ninside"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split in audit.splits:
        table.add_row(*map(str, asdict(split).values()))
    return table


def _link_table(audit: Audit) -> Table:
    table = Table(title="subject ids that share cells")
    for name in ("ids", "stated", "identical", "near", "lowest", "median", "highest", "by chance", "joined"):
        table.add_column(name, justify="right" if name != "ids" else "left")
    for link in audit.links:
        values = (link.lowest, link.median, link.highest)
        numbers = ("-" if value is None else f"{value:.3f}" for value in values)
        counts = (str(link.stated), str(link.identical), str(link.near))
        joined = "yes" if link.joined else "no"
        table.add_row(f"{link.first} = {link.second}", *counts, *numbers, f"{link.chance:.1e}", joined)
    return table
