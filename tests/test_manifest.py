import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from contract.errors import UserError
from contract.manifest import FORMAT, NAME, Manifest, PixelStatistics, load_manifest


def test_a_manifest_survives_the_round_trip(manifest: Manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_the_file_is_the_manifests_own_text(shards: Path, manifest: Manifest):
    assert (shards / NAME).read_text(encoding="utf-8") == manifest.to_json()


def test_the_digest_names_the_content(manifest: Manifest):
    assert manifest.digest == Manifest.from_json(manifest.to_json()).digest
    assert manifest.digest != dataclasses.replace(manifest, shrunk=manifest.shrunk + 1).digest


def test_a_missing_manifest_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(UserError, match=r"manifest\.json: no such file: build the shards first"):
        load_manifest(tmp_path)


def test_another_format_is_refused(manifest: Manifest):
    text = json.dumps(json.loads(manifest.to_json()) | {"format": FORMAT + 1})
    with pytest.raises(UserError, match=rf"here: format {FORMAT + 1}: this code reads format {FORMAT}"):
        Manifest.from_json(text, "here")


def test_shards_of_the_first_format_are_refused_by_their_format(manifest: Manifest, tmp_path: Path):
    # It had no folds and no identities: a missing key is not what the user needs to read.
    later = ("folds", "fold", "identities")
    data = {key: value for key, value in json.loads(manifest.to_json()).items() if key not in later} | {"format": 1}
    (tmp_path / NAME).write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        load_manifest(tmp_path)
    said = f"{tmp_path / NAME}: format 1: this code reads format {FORMAT}: build the shards anew"
    assert str(refusal.value) == f"{said} (make shards DATA=folder FORCE=1)"


@pytest.mark.parametrize("value", ["2", None, 2.0, True, [2]])
def test_a_format_that_is_no_whole_number_is_refused(manifest: Manifest, value: object):
    text = json.dumps(json.loads(manifest.to_json()) | {"format": value})
    with pytest.raises(UserError, match=r"^here(: format |\.format: )"):
        Manifest.from_json(text, "here")


def test_a_nested_mistake_is_named_with_its_place(manifest: Manifest):
    data = json.loads(manifest.to_json())
    data["shards"][1]["samples"] = "12"
    with pytest.raises(UserError, match=r"m\.shards\[1\]\.samples: '12' is not of type int"):
        Manifest.from_json(json.dumps(data), "m")


def test_an_unknown_split_lists_those_there_are(manifest: Manifest):
    with pytest.raises(UserError, match="split 'tset' is not in the shards: there are train, valid, test"):
        manifest.split("tset")


def test_a_split_is_found_by_its_name(manifest: Manifest):
    assert manifest.split("valid").samples == 12
    assert manifest.split("valid").labelled
    assert not manifest.split("test").labelled


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[]"])
def test_a_file_that_is_not_a_manifest_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.tar",
        "/tmp/outside.tar",
        "sub/train-000000.tar",
        "",
        "train-000000.tar/../../outside",  # it only begins as one
        "train-000000.tar\n",
        "train-000000.tarx",
        "train-0.tar",
    ],
)
def test_a_shard_that_is_not_a_plain_file_name_is_refused(manifest: Manifest, name: str):
    # A reader joins the name to the folder, and --force deletes it: it must not point anywhere else.
    data = json.loads(manifest.to_json())
    data["shards"][0]["name"] = name
    with pytest.raises(UserError, match="name"):
        Manifest.from_json(json.dumps(data), "m")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"classes": ["blast"]}, r"manifest\.json: classes \('blast',\): must be two names"),
        ({"classes": ["normal", "blast", "other"]}, r"manifest\.json: classes .*: must be two names"),
        ({"pixels": {"mean": [1.0, 2.0, 3.0], "std": [1.0, 0.0, 1.0]}}, r"manifest\.json\.pixels: .*std above zero"),
    ],
)
def test_numbers_and_names_that_no_network_can_be_trained_with_are_refused(
    manifest: Manifest, tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(json.loads(manifest.to_json()) | changes))
    with pytest.raises(UserError, match=rule):
        load_manifest(tmp_path)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_mean_that_is_not_finite_is_refused(manifest: Manifest, number: str):
    data = json.loads(manifest.to_json())
    data["pixels"]["mean"][0] = 1234.5
    with pytest.raises(UserError, match="must be finite"):
        Manifest.from_json(json.dumps(data).replace("1234.5", number), "m")


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_so_is_one_that_no_file_said(number: float):
    with pytest.raises(UserError, match="must be finite"):
        PixelStatistics((1.0, number, 1.0), (1.0, 1.0, 1.0))


def test_a_mean_of_four_channels_is_refused(manifest: Manifest):
    data = json.loads(manifest.to_json())
    data["pixels"]["mean"] += [1.0]
    with pytest.raises(UserError, match="4 values where 3 belong"):
        Manifest.from_json(json.dumps(data), "m")


def test_a_subject_is_a_person_of_its_own_where_identities_were_not_searched(manifest: Manifest):
    unsearched = dataclasses.replace(manifest, identities={})
    assert (unsearched.identity("7"), unsearched.identity(None)) == ("7", None)


def test_a_deviation_that_is_not_finite_is_refused(manifest: Manifest):
    data = json.loads(manifest.to_json())
    data["pixels"]["std"][0] = 1234.5
    with pytest.raises(UserError, match="must be finite"):
        Manifest.from_json(json.dumps(data).replace("1234.5", "1e999"), "m")


@pytest.mark.parametrize(("what", "words"), [("shards", "lists a shard twice"), ("splits", "lists a split twice")])
def test_what_stands_twice_is_refused_by_every_reader(manifest: Manifest, what: str, words: str, tmp_path: Path):
    text = json.loads(manifest.to_json())
    text[what].append(text[what][0])
    (tmp_path / NAME).write_text(json.dumps(text))
    with pytest.raises(UserError, match=rf"manifest\.json: the manifest {words}"):
        load_manifest(tmp_path)
