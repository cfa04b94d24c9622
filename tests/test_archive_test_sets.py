"""The challenge's two test sets beside the folds: the preliminary one is labelled, the final one is not."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from archive_folder import FINAL, PRELIM, add_final, add_prelim, write_archive

from build_shards.archive import read_archive
from build_shards.audit import audit
from build_shards.dataset import Dataset, read_dataset
from build_shards.shards import build
from build_shards.split import SplitChoice, describe, split_dataset
from build_shards.synthetic import draw_cell
from build_shards.verify import verify, verify_sources
from contract.errors import UserError
from contract.manifest import Submission
from contract.recipe import Recipe
from evaluate.shard_folders import open_folders
from evaluate.submission import submission_name, submission_text, wanted_order

FINAL_NAMES = ("1.bmp", "2.bmp", "3.bmp", "10.bmp")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "archive", subjects=4)


def sources(dataset: Dataset, split: str) -> list[str]:
    return [cell.source for cell in dataset.cells if cell.split == split]


def test_the_preliminary_test_set_becomes_a_labelled_split(archive: Path):
    dataset = read_archive(add_prelim(archive), "subject", 0)
    prelim = [(c.file.name, c.label, c.subject) for c in dataset.cells if c.split == "prelim"]
    assert prelim == [("1.bmp", 1, "57"), ("2.bmp", 0, "H49")]


def test_a_small_h_in_the_preliminary_csv_names_the_same_subject(archive: Path):
    text = "Patient_ID,new_names,labels\nUID_57_22_2_all.bmp,1.bmp,1\nUID_h3_1_1_hem.bmp,2.bmp,0\n"
    cells = read_archive(add_prelim(archive, text), "subject", 0).cells
    assert [cell.subject for cell in cells if cell.split == "prelim"] == ["57", "H3"]


def test_blank_lines_of_the_preliminary_csv_are_no_rows(archive: Path):
    dataset = read_archive(add_prelim(archive, PRELIM.replace("\n", "\n\n")), "subject", 0)
    assert len(sources(dataset, "prelim")) == 2


def test_an_image_of_the_preliminary_set_without_a_row_is_refused_and_not_dropped(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "C-NMC_test_prelim_phase_data" / "3.bmp").touch()
    with pytest.raises(UserError, match=r"phase_data/3\.bmp: no row of .*prelim_phase_data_labels\.csv names it"):
        read_archive(archive, "subject", 0)


def test_a_second_preliminary_csv_is_refused(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "prelim_labels_2.csv").write_text(PRELIM)
    with pytest.raises(UserError, match=r"prelim_labels_2\.csv: a second labels CSV"):
        read_archive(archive, "subject", 0)


def test_a_second_preliminary_image_of_one_name_is_refused(archive: Path):
    add_prelim(archive)
    (archive / "validation" / "prelim_copy").mkdir()
    (archive / "validation" / "prelim_copy" / "1.bmp").touch()
    with pytest.raises(UserError, match=r"prelim_copy/1\.bmp: a second image of this name"):
        read_archive(archive, "subject", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable CSV: No columns"),
        ("Patient_ID,labels\nUID_57_22_2_all.bmp,1\n", "the column 'new_names' is missing; it has Patient_ID, labels"),
        (
            "Patient_ID,new_names,labels,labels\nUID_57_22_2_all.bmp,1.bmp,1,0\n",
            "the column 'labels' stands there twice",
        ),
        (PRELIM.replace("2.bmp,0", "2.bmp,2"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("2.bmp,0", "9.bmp,0"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("UID_H49_1_1_hem.bmp", "H49"), "line 3: .* is not a name, an image of its own, and the label"),
        (PRELIM.replace("2.bmp,0", "1.bmp,0"), "line 3"),  # an image twice
        (PRELIM.replace("1.bmp,1", "1.bmp,0"), "line 2"),  # the name says blast, the label normal
        (PRELIM.replace("2.bmp,0", "2.bmp,2").replace("\n", "\n\n"), "line 5: .* the label that the name says"),
        (PRELIM.replace("1.bmp,1", "1.bmp,1,").replace("2.bmp,0", "2.bmp,0,"), "not a readable CSV: Length of header"),
    ],
)
def test_a_bad_preliminary_csv_is_refused_by_file_and_line(archive: Path, text: str, message: str):
    with pytest.raises(UserError, match=rf"prelim_phase_data_labels\.csv(: |, )({message})"):
        read_archive(add_prelim(archive, text), "subject", 0)


def test_the_final_test_set_becomes_an_unlabelled_split_in_the_order_of_its_numbers(archive: Path):
    before = read_archive(add_prelim(archive), "subject", 0)
    add_final(archive)
    after = read_archive(archive, "subject", 0)
    ids = tuple(f"testing_data/{FINAL}/{number}.bmp" for number in (1, 2, 10))
    final = [cell for cell in after.cells if cell.split == "final"]
    assert [(cell.source, cell.label, cell.subject) for cell in final] == [(i, None, None) for i in ids]
    assert (before.submissions, after.submissions) == ((), (Submission("final", "final", ids),))
    assert after.cells == (*before.cells, *final), "it changes no other set"
    assert after.digest != before.digest


@pytest.mark.parametrize("inside", ["testing_data", "validation", f"testing_data/{FINAL}", "."])
def test_the_final_test_set_is_found_wherever_it_was_unpacked(archive: Path, inside: str):
    images = add_final(add_prelim(archive))
    (archive / inside).mkdir(exist_ok=True, parents=True)
    images = images.rename(archive / "moved")
    (archive / inside).mkdir(exist_ok=True, parents=True)
    images.rename(archive / inside / FINAL)
    dataset = read_archive(archive, "subject", 0)
    assert [Path(source).name for source in sources(dataset, "final")] == ["1.bmp", "2.bmp", "10.bmp"]
    assert len(sources(dataset, "prelim")) == 2


def test_the_final_test_set_is_found_beside_a_labels_csv_on_top(archive: Path):
    add_final(add_prelim(archive))
    csv_file = next((archive / "validation").glob("*.csv"))
    csv_file.rename(archive / csv_file.name)  # as single downloads lie in one folder
    dataset = read_archive(archive, "subject", 0)
    assert [len(sources(dataset, split)) for split in ("prelim", "final")] == [2, 3]


@pytest.mark.parametrize("name", ["01.bmp", "0.bmp", "1.png", "cell.bmp", "1 (copy).bmp", "notes.txt"])
def test_a_file_in_the_final_test_set_that_has_no_number_is_refused(archive: Path, name: str):
    add_final(archive, "1.bmp", name)
    with pytest.raises(UserError) as caught:
        read_archive(archive, "subject", 0)
    assert (
        str(caught.value)
        == f"{archive}/testing_data/{FINAL}/{name}: its name is not NUMBER.bmp, as in the final test set"
    )


def test_a_second_final_image_of_one_name_is_refused(archive: Path):
    inner = add_final(archive) / FINAL
    inner.mkdir()
    (inner / "2.bmp").touch()
    with pytest.raises(UserError, match=r"2\.bmp: a second image of this name: the final test set has .*2\.bmp"):
        read_archive(archive, "subject", 0)


def test_a_folder_or_a_link_in_place_of_a_final_image_is_refused(archive: Path, tmp_path: Path):
    images = add_final(archive)
    (images / "2.bmp").rename(tmp_path / "2.bmp")
    (images / "2.bmp").mkdir()
    with pytest.raises(UserError, match=rf"{FINAL}/2\.bmp': no such file"):
        read_archive(archive, "subject", 0)
    (images / "2.bmp").rmdir()
    (images / "2.bmp").symlink_to(tmp_path / "2.bmp")
    with pytest.raises(UserError, match="leaves the folder through a link"):
        read_archive(archive, "subject", 0)


@pytest.mark.parametrize(
    "stray",
    [
        "C-NMC_test_prelim_phase_data/1.bmp",  # its labels CSV is missing
        "testing_data/1.bmp",
        "C-NMC_test_final_phase_data_2/1.BMP",
        "C-NMC/fold_0/UID_1_1_1_all.bmp",
        "C-NMC/Fold_3/all/UID_1_1_1_all.bmp",
        "__MACOSX/._1.bmp",
    ],
)
def test_an_image_in_no_set_is_refused_by_name_and_not_dropped(archive: Path, stray: str):
    (archive / stray).parent.mkdir(parents=True, exist_ok=True)
    (archive / stray).touch()
    with pytest.raises(UserError) as caught:
        read_archive(archive, "subject", 0)
    assert str(caught.value).startswith(f"{archive / stray}: ")


def test_a_linked_folder_that_may_hold_cells_is_refused(archive: Path, tmp_path: Path):
    (archive / "inside").symlink_to(archive / "C-NMC")
    read_archive(archive, "subject", 0)  # what it shows is read where it lies
    (tmp_path / "elsewhere" / "fold_7" / "all").mkdir(parents=True)
    (archive / "more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"more: leaves the folder through a link"):
        read_archive(archive, "subject", 0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 drawn cells in the archive layout, and a final test set of four: the first is a training cell. Read only."""
    folder, rng = tmp_path_factory.mktemp("drawn") / "archive", np.random.default_rng(0)
    cells = [
        (cls, f"UID_{h}{n}_{i}_1_{cls}") for cls, h in (("all", ""), ("hem", "H")) for n in range(8) for i in (1, 2)
    ]
    for cls, name in cells:
        (folder / "fold_0" / cls).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(f"{folder}/fold_0/{cls}/{name}.bmp", draw_cell(int(cls == "all"), rng.normal(), rng, 120))
    seen = next(cell.file for cell in read_dataset(folder).cells if cell.split == "train")
    images = add_final(folder, *FINAL_NAMES)
    for name in FINAL_NAMES:
        assert cv2.imwrite(str(images / name), draw_cell(1, rng.normal(), rng, 120))
    shutil.copy(seen, images / FINAL_NAMES[0])
    return folder


def test_the_audit_counts_final_images_that_training_has(drawn: Path):
    result = audit(read_dataset(drawn), workers=1)
    final = result.splits[-1]
    assert (final.name, final.cells, final.normal, final.blast, final.subjects) == ("final", 4, 0, 0, 0)
    assert (final.identical_in_train, final.twins_in_train) == (1, 1)


def test_the_final_test_set_keeps_its_cells_in_every_split(drawn: Path):
    before = read_dataset(drawn)
    for choice in (SplitChoice("identity"), SplitChoice("image"), SplitChoice("subject", folds=2, fold=1)):
        after = split_dataset(before, choice, lambda _: {})
        assert [c for c in after.cells if c.split == "final"] == [c for c in before.cells if c.split == "final"]
        assert after.submissions == before.submissions
        assert "final" not in describe(before, after)


def test_shards_and_submissions_have_the_final_test_set(drawn: Path, tmp_path: Path):
    dataset = split_dataset(read_dataset(drawn), SplitChoice("image"), lambda _: {})
    manifest, _ = build(dataset, Recipe(size=33, window=80), tmp_path / "shards", workers=1, force=False)
    split = manifest.split("final")
    assert (split.labelled, split.samples, split.subjects) == (False, 4, 0)
    assert verify(tmp_path / "shards") == manifest
    verify_sources(tmp_path / "shards", manifest, dataset, workers=1)
    (shards,) = open_folders((tmp_path / "shards",))
    verdicts = dict.fromkeys(shards.cells("final").ids, 1)
    text = submission_text(wanted_order(manifest, "final", "resnet50"), verdicts, submission_name("final", "resnet50"))
    assert text == "".join(["ID,label\n", *(f"testing_data/{FINAL}/{name},1\n" for name in FINAL_NAMES)])
