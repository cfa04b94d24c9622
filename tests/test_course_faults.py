"""Tables of a course's folder that can be read in two ways are refused: nothing is guessed."""

import pytest

from build_shards.course import read_course
from contract.errors import UserError


@pytest.mark.parametrize("subject", [" ", "11 ", " 11", "\t11"])
def test_a_subject_with_a_blank_around_it_is_refused_and_not_another_person(write_course, subject: str):
    text = f"Path,subject\n./cells/0.bmp,11\n./cells/3.bmp,{subject}\n"
    with pytest.raises(UserError, match=r"subjects\.csv, line 3: the subject .* begins or ends with a blank"):
        read_course(write_course(subjects=text))


@pytest.mark.parametrize("header", ["Path,label,label", "Path,label,Path"])
def test_a_column_that_stands_there_twice_is_refused(write_course, header: str):
    text = f"{header}\n./cells/6.bmp,0,1\n./cells/7.bmp,1,0\n"
    with pytest.raises(UserError, match=rf"valid\.csv: the column '{header.split(',')[2]}' stands there twice"):
        read_course(write_course(valid=text))


def test_a_dataset_json_that_is_no_file_is_refused_and_not_taken_for_none(write_course):
    folder = write_course()
    (folder / "dataset.json").symlink_to(folder / "nowhere.json")
    with pytest.raises(UserError, match=r"dataset\.json: no such file"):
        read_course(folder)
    (folder / "nowhere.json").mkdir()
    with pytest.raises(UserError, match=r"dataset\.json: no such file"):
        read_course(folder)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("Train_test", "b_test", r"Train_test\.csv: a split cannot be called 'Train'"),
        ("ward_test", "Ward_test", r"ward_test\.csv: a second test CSV for ward: .* A_test.csv and a_test.csv"),
    ],
)
def test_splits_whose_shards_would_be_one_file_on_some_file_systems_are_refused(write_course, first, second, message):
    texts = {first: "Path\n./cells/6.bmp\n", second: "Path\n./cells/7.bmp\n"}
    with pytest.raises(UserError, match=message):
        read_course(write_course(**texts))


def test_a_blank_line_amid_the_subjects_loses_none_of_them(write_course):
    text = "Path,subject\n./cells/0.bmp,11\n\n./cells/3.bmp,H2\n"
    subjects = {cell.source: cell.subject for cell in read_course(write_course(subjects=text)).cells}
    assert (subjects["./cells/0.bmp"], subjects["./cells/3.bmp"]) == ("11", "H2")


def test_an_original_that_is_one_file_states_nothing_whatever_it_is_called(write_course):
    text = "Path,subject,original\n./cells/0.bmp,11,\n./cells/1.bmp,12,scan 7.tif\n"
    text += "./cells/2.bmp,13,UID_14_1_1_all.bmp\n"
    assert read_course(write_course(subjects=text)).stated == ()
