from pathlib import Path

import pytest

from build_shards.course import LONGEST_NAME, read_course
from build_shards.tar import sample_blocks
from contract.errors import UserError
from contract.manifest import Submission
from contract.pixels import IMAGE_MEMBERS


def sources(folder: Path, split: str) -> list[str]:
    return [cell.source for cell in read_course(folder).cells if cell.split == split]


def test_cells_come_in_the_order_of_the_csvs_with_their_labels(write_course):
    dataset = read_course(write_course(train="Path,label\n./cells/2.bmp,1\n./cells/0.bmp,0\n"))
    train = [(cell.source, cell.label) for cell in dataset.cells if cell.split == "train"]
    assert train == [("./cells/2.bmp", 1), ("./cells/0.bmp", 0)]
    assert (dataset.layout, dataset.split_by, dataset.name) == ("course", "given", "data")


def test_each_networks_csv_is_one_submission_of_the_test_split_in_its_own_order(write_course):
    folder = write_course(
        resnet_18_test="Path\n./cells/7.bmp\n./cells/5.bmp\n",
        resnet_50_test="Path\n./cells/5.bmp\n./cells/7.bmp\n./cells/6.bmp\n",
        resnet_152_test="Path\n./cells/6.bmp\n",
    )
    assert read_course(folder).submissions == (
        Submission("resnet152", "test", ("./cells/6.bmp",)),
        Submission("resnet18", "test", ("./cells/7.bmp", "./cells/5.bmp")),
        Submission("resnet50", "test", ("./cells/5.bmp", "./cells/7.bmp", "./cells/6.bmp")),
    )
    # the split itself holds each image once, whatever boards ask for it
    assert sources(folder, "test") == ["./cells/5.bmp", "./cells/6.bmp", "./cells/7.bmp"]


def test_numbers_in_names_are_sorted_as_numbers(write_course):
    folder = write_course()
    for number in (10, 100):
        (folder / "cells" / f"{number}.bmp").write_bytes((folder / "cells" / "5.bmp").read_bytes())
    (folder / "resnet_18_test.csv").write_text("Path\n./cells/100.bmp\n./cells/10.bmp\n./cells/6.bmp\n")
    assert sources(folder, "test") == ["./cells/6.bmp", "./cells/10.bmp", "./cells/100.bmp"]


def test_a_further_test_csv_becomes_an_unlabelled_split_of_its_name(write_course):
    dataset = read_course(write_course(external_test="Path\n./cells/7.bmp\n./cells/6.bmp\n"))
    assert Submission("external", "external", ("./cells/7.bmp", "./cells/6.bmp")) in dataset.submissions
    assert [(c.source, c.label) for c in dataset.cells if c.split == "external"] == [
        ("./cells/6.bmp", None),
        ("./cells/7.bmp", None),
    ]


def test_test_csvs_may_be_absent(write_course):
    folder = write_course()
    (folder / "resnet_18_test.csv").unlink()
    assert read_course(folder).submissions == ()


def test_a_byte_order_mark_windows_lines_and_further_columns_are_welcome(write_course):
    text = "\ufeffnumber,Path,label\r\n1,./cells/0.bmp,0\r\n2,./cells/1.bmp,1\r\n"
    assert sources(write_course(train=text), "train") == ["./cells/0.bmp", "./cells/1.bmp"]


def test_subjects_reach_cells_however_the_path_is_spelled(write_course):
    text = "Path,subject\ncells/0.bmp,11\n./cells/3.bmp,H11\n./cells/5.bmp,007\n"
    subjects = {cell.source: cell.subject for cell in read_course(write_course(subjects=text)).cells}
    assert subjects["./cells/0.bmp"] == "11"
    assert subjects["./cells/3.bmp"] == "H11"
    assert subjects["./cells/5.bmp"] == "007"  # text, not a number
    assert subjects["./cells/1.bmp"] is None


def test_a_link_to_no_subjects_is_refused_and_not_taken_for_none(write_course):
    folder = write_course()
    (folder / "subjects.csv").unlink(missing_ok=True)
    (folder / "subjects.csv").symlink_to(folder / "nowhere.csv")
    with pytest.raises(UserError, match=r"subjects\.csv: "):
        read_course(folder)


def test_a_subject_that_is_left_blank_is_unknown(write_course):
    # An empty name taken for a person would make one person of all unknown ones.
    text = "Path,subject\n./cells/0.bmp,\n./cells/3.bmp,\n"
    assert {cell.subject for cell in read_course(write_course(subjects=text)).cells} == {None}


def test_subjects_of_other_images_alone_are_refused(write_course):
    # Else the split would be the given one in silence, as if there were no subjects.csv.
    with pytest.raises(UserError, match=r"subjects\.csv: none of its paths, first 'x/0\.bmp', is in another CSV"):
        read_course(write_course(subjects="Path,subject\n./x/0.bmp,11\n./x/1.bmp,12\n"))


def test_dataset_json_gives_the_name(write_course):
    folder = write_course()
    (folder / "dataset.json").write_text('{"name": "cells of a friend"}')
    assert read_course(folder).name == "cells of a friend"


NAMELESS = ["", "[]", "{}", "3", "no json", '{"name": 3}', '{"name": " "}', r'{"name": "\ud800"}']


@pytest.mark.parametrize("text", NAMELESS)
def test_a_dataset_json_without_a_name_is_refused(write_course, text: str):
    folder = write_course()
    (folder / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r'dataset\.json: not a JSON object with a "name"'):
        read_course(folder)


@pytest.mark.parametrize("csv", ["train", "valid"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable CSV"),
        ("\n\n", "not a readable CSV|column 'Path' is missing"),
        ("Path,label\n", "empty: it has a header and no rows"),
        ("label\n0\n", "the column 'Path' is missing; it has label"),
        ("Path\n./cells/6.bmp\n", "the column 'label' is missing; it has Path"),
        ("path,Label\n./cells/6.bmp,0\n", "the column 'Path' is missing; it has path, Label"),
        ("./cells/6.bmp,0\n./cells/7.bmp,1\n", "the column 'Path' is missing"),
        ("Path;label\n./cells/6.bmp;0\n", "the column 'Path' is missing; it has Path;label: separate values by commas"),
        ("Path\tlabel\n./cells/6.bmp\t0\n", "the column 'Path' is missing; it has .*: separate values by commas"),
        ('Path,label\n"./cells/6.bmp,0\n', "not a readable CSV"),
        ("Path,label\n./cells/6.bmp,2\n", "line 2: the label '2' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,0\n./cells/7.bmp,\n", "line 3: the label '' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp\n", "line 2: the label '' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,NA\n", "line 2: the label 'NA' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,1.0\n", "line 2: the label '1.0' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,blast\n", "line 2: the label 'blast' is not 0 or 1"),
        ("Path,label\n./cells/6.bmp,0\n./cells/6.bmp,0\n", r"line 3: the path '\./cells/6\.bmp' stands there twice"),
        ("Path,label\n./cells/6.bmp,0\ncells//6.bmp,0\n", r"line 3: the path 'cells//6\.bmp' stands there twice"),
        ("Path,label\n../data/cells/6.bmp,0\n", "line 2: .* leaves the folder"),
        ("Path,label\n/etc/hostname,0\n", "line 2: .* leaves the folder"),
        ("Path,label\n./cells/6.bmp,0\n./cells/gone.bmp,0\n", r"line 3: '\./cells/gone\.bmp': no such file"),
        ("Path,label\n./cells,0\n", r"line 2: '\./cells': no such file"),
        ("Path,label\n,0\n", "line 2: '': no such file"),
    ],
)
def test_a_bad_csv_is_refused_by_file_and_line(write_course, csv: str, text: str, message: str):
    with pytest.raises(UserError, match=rf"{csv}\.csv(: |, )({message})"):
        read_course(write_course(**{csv: text}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable CSV"),
        ("Path\n", "empty"),
        ("ID\n./cells/6.bmp\n", "the column 'Path' is missing; it has ID"),
        ("Path\n./cells/6.bmp\ncells/6.bmp\n", "line 3: .* stands there twice"),
        ("Path\n../data/cells/6.bmp\n", "line 2: .* leaves the folder"),
        ("Path\n./cells/gone.bmp\n", "line 2: .*no such file"),
    ],
)
@pytest.mark.parametrize("csv", ["resnet_50_test", "external_test"])
def test_a_bad_test_csv_is_refused_by_file_and_line(write_course, csv: str, text: str, message: str):
    with pytest.raises(UserError, match=rf"{csv}\.csv(: |, )({message})"):
        read_course(write_course(**{csv: text}))


@pytest.mark.parametrize("blank", ["\n", "\n\n", ",\n", ",\n,\n\n"])
def test_blank_lines_at_the_end_of_a_csv_are_no_cells(write_course, blank: str):
    table = "Path,label\n./cells/0.bmp,0\n./cells/1.bmp,1\n"
    plain, ended = (read_course(write_course(train=text)) for text in (table, table + blank))
    assert ended == plain


def test_a_blank_line_in_a_csv_is_refused_by_its_number(write_course):
    with pytest.raises(UserError, match=r"train\.csv, line 3"):
        read_course(write_course(train="Path,label\n./cells/0.bmp,0\n\n./cells/1.bmp,1\n"))


def test_a_csv_that_is_not_text_is_refused(write_course):
    folder = write_course()
    (folder / "valid.csv").write_bytes("Path,label\n./cells/6.bmp,0\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"valid\.csv: not a readable CSV: not UTF-8 text: save it as CSV UTF-8"):
        read_course(folder)


def test_a_missing_valid_csv_is_refused(write_course):
    folder = write_course()
    (folder / "valid.csv").unlink()
    with pytest.raises(UserError, match=r"valid\.csv: no such file"):
        read_course(folder)


def test_a_link_out_of_the_folder_is_refused(write_course, tmp_path: Path):
    folder = write_course()
    (folder / "cells" / "6.bmp").rename(tmp_path / "out.bmp")
    (folder / "cells" / "6.bmp").symlink_to(tmp_path / "out.bmp")
    (folder / "valid.csv").write_text("Path,label\n./cells/6.bmp,0\n")
    with pytest.raises(UserError, match=r"valid\.csv, line 2: .* leaves the folder through a link"):
        read_course(folder)


@pytest.mark.parametrize(
    ("csv", "text", "splits"),
    [
        ("valid", "Path,label\n./cells/0.bmp,0\n", "train and valid"),
        ("valid", "Path,label\ncells/0.bmp,0\n", "train and valid"),
        ("resnet_18_test", "Path\n./cells/4.bmp\n", "valid and test"),
        ("external_test", "Path\n./cells/5.bmp\n", "external and test"),
    ],
)
def test_the_same_path_in_two_splits_is_refused(write_course, csv: str, text: str, splits: str):
    with pytest.raises(UserError, match=rf"cells/\d\.bmp' is in two splits: {splits}"):
        read_course(write_course(**{csv: text}))


@pytest.mark.parametrize("csv", ["train_test", "valid_test", "test_test", "_test", "my data_test", "x" * 81 + "_test"])
def test_a_split_with_a_name_that_cannot_be_is_refused(write_course, csv: str):
    with pytest.raises(UserError, match=rf"{csv}\.csv: a split cannot be called .*, test: rename or move it"):
        read_course(write_course(**{csv: "Path\n./cells/6.bmp\n"}))


def test_one_image_spelled_in_two_ways_is_one_cell_of_the_test_split(write_course):
    folder = write_course(resnet_18_test="Path\n./cells/5.bmp\n", resnet_50_test="Path\ncells/5.bmp\n")
    assert sources(folder, "test") == ["./cells/5.bmp"]  # as it is spelled first


def test_two_csvs_cannot_make_submissions_of_one_name(write_course):
    folder = write_course(resnet_18_test="Path\n./cells/5.bmp\n", resnet18_test="Path\n./cells/6.bmp\n")
    with pytest.raises(UserError, match=r"resnet_?18_test\.csv"):
        read_course(folder)


def test_the_longest_name_of_a_split_has_room_in_a_shard_of_any_format():
    longest = max(len(extension) for extensions in IMAGE_MEMBERS.values() for extension in (*extensions, "json", "cls"))
    name = f"{'x' * LONGEST_NAME}-999999"
    assert sample_blocks(name, {"y" * longest: b""})


def test_a_split_of_the_longest_name_is_welcome(write_course):
    name = "x" * LONGEST_NAME
    assert sources(write_course(**{f"{name}_test": "Path\n./cells/6.bmp\n"}), name) == ["./cells/6.bmp"]


def test_ids_that_the_table_gives_one_image_are_one_person_and_a_blank_is_none_of_them(write_course):
    text = "Path,subject,original\n./cells/0.bmp,11,a/UID_11_1_1_all.bmp\n"
    text += "./cells/1.bmp,,b/UID_h2_1_1_hem.bmp|UID_H10_3_1_hem.bmp\n"
    assert read_course(write_course(subjects=text)).stated == (("H2", "H10"),)
    with pytest.raises(UserError, match=r"subjects\.csv, line 3: the original 'b/cell\.bmp' is not an archive file"):
        read_course(write_course(subjects=text.replace("UID_h2_1_1_hem", "cell")))
