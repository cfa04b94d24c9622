"""Submissions for a Kaggle board: exact header, exact order, nothing missing, nothing more."""

from dataclasses import replace

import pytest

from contract.errors import UserError
from contract.manifest import Manifest, Submission
from evaluate.submission import check_submission, submission_name, submission_text, wanted_order

WANTED = ("./a", "b", "c")
WHOLE = "ID,label\n./a,1\nb,0\nc,1\n"


def test_the_file_is_exactly_id_label_in_the_given_order() -> None:
    # The IDs as the board spells them; the shards know each image by its plain path.
    wanted = Submission("resnet18", "test", ("./b.bmp", "a.bmp"))
    text = submission_text(wanted, {"a.bmp": 1, "b.bmp": 0, "c.bmp": 1}, "s.csv")
    assert text == "ID,label\n./b.bmp,0\na.bmp,1\n"


@pytest.mark.parametrize(
    ("ids", "words"), [(("a", "gone"), "'gone' is asked for and is not in the shards"), (("a", "./a"), "'./a'.*twice")]
)
def test_an_id_without_prediction_or_twice_is_refused(ids: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=f"resnet18 test CSV: the ID {words}"):
        submission_text(Submission("resnet18", "test", ids), {"a": 0, "b": 1}, "s.csv")


def test_a_whole_submission_passes_and_its_labels_are_counted() -> None:
    assert check_submission(WHOLE, WANTED, "s.csv", ordered=True) == {"0": 1, "1": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ID,label\n./a,1\nc,1\n", "the ID 'b' is missing"),
        (WHOLE + "d,0\n", "the ID 'd' is extra"),
        (WHOLE + "b,0\n", "the ID 'b' stands there twice"),
        ("ID,label\nb,0\n./a,1\nc,1\n", "the ID 'b' is out of order"),
        (WHOLE.replace("b,0", "b,2"), r"line 3: 'b,2' is not an ID and a label of 0 or 1"),
        (WHOLE.replace("b,0", "b"), "line 3: 'b' is not"),
        (WHOLE.replace("b,0", "b,0,1"), "line 3: 'b,0,1' is not"),
        (WHOLE.replace("ID,label", "id,label"), "the header is 'id,label'"),
        ("", "the header is ''"),
        (WHOLE + '"d' + ",0\n" * 50_000, "not a CSV: field larger than field limit"),  # a quote that is never closed
    ],
)
def test_what_the_board_would_not_take_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"s.csv: {words}"):
        check_submission(text, WANTED, "s.csv", ordered=True)


def test_another_order_passes_where_the_board_is_another_network_s() -> None:
    counts = check_submission("ID,label\nb,0\n./a,1\nc,1\n", WANTED, "s.csv", ordered=False)
    assert counts == {"0": 1, "1": 2}


def test_each_network_gets_the_order_of_its_own_csv_and_the_ensemble_the_first(manifest: Manifest) -> None:
    orders = {arch: wanted_order(manifest, "test", arch).ids for arch in ("resnet18", "resnet50", "resnet152")}
    assert len(set(orders.values())) == 3
    assert len({frozenset(ids) for ids in orders.values()}) == 1
    assert wanted_order(manifest, "test", "ensemble").ids == orders["resnet18"]


def test_a_further_split_has_one_list_for_all_networks(manifest: Manifest) -> None:
    more = replace(manifest, submissions=(*manifest.submissions, Submission("ward", "ward", ("a", "b"))))
    for name in ("resnet50", "ensemble"):
        assert wanted_order(more, "ward", name).ids == ("a", "b")
    both = replace(more, submissions=(*more.submissions, Submission("resnet50", "ward", ("b", "a"))))
    assert wanted_order(both, "ward", "resnet50").ids == ("b", "a")  # its own goes first
    assert wanted_order(both, "ward", "ensemble").ids == ("a", "b")
    assert submission_name("ward", "resnet50") == "submission_ward_resnet50.csv"
    assert submission_name("test", "resnet50") == "submission_resnet50.csv"


def test_a_network_without_a_csv_is_refused_by_name(manifest: Manifest) -> None:
    fewer = replace(manifest, submissions=tuple(s for s in manifest.submissions if s.name != "resnet50"))
    with pytest.raises(UserError, match=r"no test CSV for resnet50: there are resnet152, resnet18"):
        wanted_order(fewer, "test", "resnet50")
