"""Where credentials are looked for before a submission is handed to Kaggle's command line."""

from pathlib import Path

import pytest

from evaluate.kaggle import has_credentials


@pytest.mark.parametrize(
    ("environment", "file", "expected"),
    [
        ({}, None, False),
        ({"KAGGLE_API_TOKEN": "t"}, None, True),
        ({"KAGGLE_USERNAME": "u"}, None, False),
        ({"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "k"}, None, True),
        ({}, ".kaggle/access_token", True),
        ({}, ".kaggle/kaggle.json", True),
        ({}, ".config/kaggle/kaggle.json", True),
        ({}, ".kaggle/other", False),
    ],
)
def test_credentials_are_looked_for_where_kaggle_does(
    tmp_path: Path, environment: dict[str, str], file: str | None, expected: bool
) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("x")
    assert has_credentials(environment, tmp_path) is expected


@pytest.mark.parametrize(
    ("variable", "file"), [("KAGGLE_CONFIG_DIR", "kaggle.json"), ("XDG_CONFIG_HOME", "kaggle/credentials.json")]
)
def test_credentials_may_lie_in_a_folder_of_their_own(tmp_path: Path, variable: str, file: str) -> None:
    environment = {variable: str(tmp_path / "own")}
    assert not has_credentials(environment, tmp_path)
    (tmp_path / "own" / file).parent.mkdir(parents=True)
    (tmp_path / "own" / file).touch()
    assert has_credentials(environment, tmp_path)
