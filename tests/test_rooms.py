"""The walls between the rooms: who may import what, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("contract", "build_shards", "train", "export", "evaluate")
# What each room may import of the project besides itself (prefixes of module names).
ALLOWED = {
    "contract": (),
    "build_shards": ("contract",),
    "train": ("contract",),
    "export": (
        "contract",
        "train.resnet",
        "train.checkpoint",
        "train.normalise",
        "build_shards.preprocess",
        "build_shards.macenko",
        "build_shards.reinhard",
    ),
    "evaluate": ("contract", "build_shards.preprocess"),
}
# Packages that a room may not use, whatever for.
FORBIDDEN = {
    "contract": ("torch", "webdataset", "pandas", "onnx", "onnxruntime", "matplotlib", "sklearn", "skimage", "tyro"),
    "build_shards": ("torch", "webdataset", "onnx", "onnxruntime"),
    "train": ("webdataset", "onnx", "onnxruntime", "pandas"),
    "export": ("webdataset", "pandas"),
    "evaluate": ("torch", "webdataset", "onnxscript"),
}


def _imported(file: Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module))
    return names


def _modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_design_allows(room: str) -> None:
    for file in _modules(room):
        for name in _imported(file):
            own, package = name.split(".")[0], name.split(".")[0]
            if own in ROOMS and own != room:
                allowed = any(name == a or name.startswith(a + ".") for a in ALLOWED[room])
                assert allowed, f"{file.relative_to(ROOT)} imports {name}"
            assert package not in FORBIDDEN[room], f"{file.relative_to(ROOT)} imports {name}"


def test_contract_stands_on_numpy_opencv_isal_and_the_standard_library() -> None:
    for file in _modules("contract"):
        for name in _imported(file):
            package = name.split(".")[0]
            assert package in ("contract", "numpy", "cv2", "isal") or package in sys.stdlib_module_names, name


def test_importing_all_of_evaluate_leaves_torch_out() -> None:
    names = [f"evaluate.{file.stem}" for file in _modules("evaluate") if file.stem not in ("__init__", "__main__")]
    assert "evaluate.predictor" in names
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_loads_pickles_or_foreign_weights() -> None:
    for room in ROOMS:
        for file in _modules(room):
            text = file.read_text(encoding="utf-8")
            assert "weights_only=False" not in text, file
            assert text.count("torch.load(") == text.count("weights_only=True)"), file
            assert "allow_pickle=True" not in text, file
            assert not _imported(file) & {"torchvision", "timm", "pickle", "joblib"}, file
