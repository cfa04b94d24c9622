"""The recipe as ONNX operators beside the builder: the same pixels and the same box, image by image."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from build_shards.preprocess import cell_pixels, preprocess
from build_shards.stain import fit_target, measure
from build_shards.synthetic import draw_cell
from contract.errors import UserError
from contract.recipe import Recipe
from export.builder import GraphBuilder
from export.graph import IR, OPSET
from export.raw_graph import _preprocess as preprocess_in

SIZE = 40


def cells(n: int = 6, side: int = 225) -> list[np.ndarray]:
    """Drawn cells on black, off the centre, each frame of another shape."""
    rng = np.random.default_rng(3)
    drawn = [draw_cell(i % 2, rng.normal(), rng, side=side) for i in range(n)]
    return [np.pad(np.roll(cell, 9 * i, axis=i % 2), ((0, 7 * i), (i, 0), (0, 0))) for i, cell in enumerate(drawn)]


def preprocess_graph(recipe: Recipe) -> onnx.ModelProto:
    """The recipe alone: outputs ``images``, uint8 ``[1, size, size, 3]``, and ``box``."""
    g, make = GraphBuilder(), onnx.helper
    preprocess_in(g, recipe)
    kind = onnx.TensorProto.UINT8
    image = make.make_tensor_value_info("image", kind, ["H", "W", 3])
    images = make.make_tensor_value_info("images", kind, [1, recipe.size, recipe.size, 3])
    box = make.make_tensor_value_info("box", onnx.TensorProto.INT64, [4])
    graph = make.make_graph(g.nodes, "recipe", [image], [images, box], list(g.constants.values()))
    return make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR)


def run(recipe: Recipe, images: list[np.ndarray]) -> list[list[np.ndarray]]:
    graph = preprocess_graph(recipe).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return [session.run(["images", "box"], {"image": image}) for image in images]


def with_target(recipe: Recipe, images: list[np.ndarray]) -> Recipe:
    measured = [measure(cell_pixels(image), recipe.stain) for image in images]
    return replace(recipe, target=fit_target([m for m in measured if m is not None], recipe.stain))


RECIPES = (
    Recipe(size=SIZE, window=150),
    Recipe(size=SIZE, window=60),  # every cell is larger than the window
    Recipe(size=SIZE, window=80, crop="box"),
    Recipe(size=180, crop="box"),  # some cells are enlarged, some are not
    Recipe(size=SIZE, crop="none"),
    Recipe(size=300, crop="none"),
    Recipe(size=90, window=45),
    Recipe(size=41, window=60),  # in one band
    Recipe(size=42, crop="box"),  # in seven
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.crop}-{r.window}-{r.size}")
def test_crop_is_the_builders(recipe: Recipe) -> None:
    images = cells()
    for image, (pixels, box) in zip(images, run(recipe, images), strict=True):
        wanted = preprocess(image, recipe, "cell")
        assert tuple(box.tolist()) == wanted.box
        difference = np.abs(pixels[0].astype(int) - wanted.image).max(axis=2)
        assert (difference > 0).mean() < 0.01  # a level or a border pixel's share that lies on the half
        both = pixels[0].any(axis=2) & wanted.image.any(axis=2)
        assert difference[both].max() <= 1
        assert np.median(wanted.image[wanted.image > 0]) > 5


@pytest.mark.parametrize(("size", "window"), [(40, 150), (112, 288), (144, 288), (96, 288), (40, 40), (37, 163)])
def test_cell_inside_the_window_has_the_builders_bits(size: int, window: int) -> None:
    rng = np.random.default_rng(4)
    even = np.zeros((150, 170, 3), np.uint8)  # of two levels: averages lie on the half between them, where bits decide
    even[40:79, 60:98] = rng.integers(0, 2, (39, 38, 1)) + np.array([90, 101, 200])
    images = [even, *cells(side=130), even[35:, 55:], even[:81, :99], even[40:79, 60:98]]  # some leave the frame
    recipe, inside = Recipe(size=size, window=window), 0
    for image, (pixels, box) in zip(images, run(recipe, images), strict=True):
        if box[2] == window:
            inside += 1
            np.testing.assert_array_equal(pixels[0], preprocess(image, recipe, "cell").image)
    assert inside >= 4


@pytest.mark.parametrize("stain", ["reinhard", "macenko"])
def test_stain_is_the_builders(stain: str) -> None:
    images = cells()
    recipe = with_target(Recipe(size=SIZE, window=150, stain=stain), images[:3])  # type: ignore[arg-type]
    for image, (pixels, _) in zip(images, run(recipe, images), strict=True):
        wanted = preprocess(image, recipe, "cell")
        assert wanted.normalised
        difference = np.abs(pixels[0].astype(int) - wanted.image).max(axis=2)
        assert (difference > 1).mean() < 0.002
        assert (difference > 0).mean() < 0.05
        plain = preprocess(image, replace(recipe, stain="none", target=(), version=0), "cell").image
        assert np.abs(plain.astype(int) - wanted.image).mean() > 0.5  # there was something to agree on


def degenerate() -> dict[str, np.ndarray]:
    """Cells whose stain cannot be told."""
    frame = np.zeros((120, 130, 3), np.uint8)
    rng = np.random.default_rng(0)
    noise = rng.integers(60, 200, (60, 60, 3), np.uint8)
    names = ("few pixels", "one colour", "two greys", "pale", "around grey", "one stain but for few", "stained in few")
    found = {name: frame.copy() for name in (*names, "nearly one stain")}
    found["few pixels"][40:48, 40:48] = noise[:8, :8]
    found["one colour"][20:80, 30:90] = (120, 60, 140)
    found["two greys"][20:80, 30:90] = np.where(noise[..., :1] > 128, 90, 91)
    found["pale"][20:80, 30:90] = 238 + noise % 12
    found["around grey"][20:80, 30:90] = np.array([[64, 108, 108], [108, 64, 108], [108, 108, 64]])[
        np.arange(60) % 3
    ] + rng.integers(0, 5, (60, 60, 1))
    density = rng.uniform(0.55, 0.9, (60, 60, 1)) * (0.65, 0.70, 0.29)
    density[0, :15] = (0.3, 1.2, 0.3)  # less than one pixel in a hundred
    found["one stain but for few"][20:80, 30:90] = 240 * np.exp(-density) - 1
    found["stained in few"][5:115, 5:115] = rng.integers(235, 239, (110, 110, 3))
    found["stained in few"][5, 5:115] = rng.integers(60, 200, (110, 3))
    grey, apart = rng.uniform(0.28, 0.6, (60, 60, 1)) / 3**0.5, rng.normal(0, 0.009, (60, 60, 1))
    found["nearly one stain"][20:80, 30:90] = 240 * np.exp(-grey - apart * (0.7, -0.7, 0)) - 0.5
    return found


@pytest.mark.parametrize("stain", ["reinhard", "macenko"])
@pytest.mark.parametrize("name", list(degenerate()))
def test_cell_whose_stain_cannot_be_told_passes_unchanged(stain: str, name: str) -> None:
    image = degenerate()[name]
    recipe = with_target(Recipe(size=33, window=120, stain=stain), cells(3))  # type: ignore[arg-type]
    wanted = preprocess(image, recipe, name)
    ((pixels, _),) = run(recipe, [image])
    assert not (wanted.normalised and stain == "macenko")
    if not wanted.normalised:
        plain = preprocess(image, replace(recipe, stain="none", target=(), version=0), name)
        np.testing.assert_array_equal(wanted.image, plain.image)
    assert np.abs(pixels[0].astype(int) - wanted.image).max() <= 1


def test_image_without_a_cell_gives_nothing() -> None:
    for stain, target in (("none", ()), ("macenko", (0.6, 0.7, 0.4, 0.1, 0.9, 0.3, 1.5, 1.0))):
        recipe = Recipe(size=33, window=50, stain=stain, target=target)  # type: ignore[arg-type]
        ((pixels, _),) = run(recipe, [np.zeros((60, 70, 3), np.uint8)])
        assert not pixels.any()


@pytest.mark.parametrize("stain", ["none", "reinhard", "macenko"])
def test_old_runtimes_have_a_kernel_for_every_product(stain: str) -> None:
    """onnxruntime up to 1.20 joins Transpose and MatMul to one node, which it has in float32 alone."""
    recipe = with_target(Recipe(stain=stain), cells(3)) if stain != "none" else Recipe()  # type: ignore[arg-type]
    graph = onnx.shape_inference.infer_shapes(preprocess_graph(recipe), strict_mode=True).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    turned = {name for node in graph.node if node.op_type == "Transpose" for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert products
    assert turned <= set(kinds)
    for node in products:
        assert not [name for name in turned.intersection(node.input) if kinds[name] == onnx.TensorProto.DOUBLE]


def test_method_that_is_not_written_in_onnx_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="stain vahadane: not supported"):
        preprocess_graph(Recipe(stain="vahadane", target=(0.1,) * 8))


@pytest.mark.parametrize("crop", ["native", "box", "none"])
def test_a_channel_that_is_dark_all_over_is_of_the_cell_all_the_same(crop: str) -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    image[20:70, 25:60] = (0, 7, 0)
    recipe = Recipe(size=40, window=60, crop=crop)  # type: ignore[arg-type]
    ((pixels, _),) = run(recipe, [image])
    wanted = preprocess(image, recipe, "cell").image
    assert wanted.max(axis=(0, 1)).tolist() == [1, 7, 1]
    np.testing.assert_array_equal(pixels[0], wanted)
