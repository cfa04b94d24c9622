"""Eroded outlines, erased rectangles, sizes and angles; flips and moves are tested in test_augment.py."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from train.draws import Draws
from train.geometry import boxes_of, erase, erode, move, resize


def discs(n: int, size: int = 40, radius: float = 12) -> torch.Tensor:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return torch.from_numpy(np.hypot(x, y) < radius).float().expand(n, 1, size, size)


def test_outline_is_taken_off_pixel_by_pixel_as_scipy_does() -> None:
    masks = discs(64)
    found = erode(masks, 3, Draws(0, 0, 64))
    whole = masks[0, 0].numpy() > 0
    stages = [whole, *(ndimage.binary_erosion(whole, np.ones((3, 3)), k) for k in (1, 2, 3))]
    kept = [[bool((mask[0].numpy() == stage).all()) for stage in stages] for mask in found]
    assert all(sum(row) == 1 for row in kept)
    assert min(np.sum(kept, axis=0)) >= 8  # of 64 in four equal shares


def test_edge_of_the_image_is_no_outline() -> None:
    masks = torch.ones(8, 1, 12, 12)
    assert torch.equal(erode(masks, 3, Draws(0, 0, 8)), masks)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 0.35, 0.65), (1.0, 1, 1)])
def test_share_of_images_has_one_rectangle_erased(share: float, low: float, high: float) -> None:
    x = torch.ones(128, 3, 40, 48)
    found = erase(x, share, Draws(0, 0, 128))
    gone = found == 0
    assert torch.equal(gone.all(dim=1), gone.any(dim=1))
    assert torch.equal(found[~gone], x[~gone])
    assert low <= gone[:, 0].flatten(1).any(dim=1).float().mean() <= high
    for image in gone[:, 0]:
        if image.any():
            rows, columns = image.any(dim=1), image.any(dim=0)
            assert torch.equal(image, rows[:, None] & columns[None])  # a rectangle
            assert 0.01 < image.float().mean() < 0.22
            assert ndimage.label(rows.numpy())[1] == ndimage.label(columns.numpy())[1] == 1


def test_boxes_stay_inside_and_have_their_size() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    boxes = boxes_of(40, 20, places, torch.full((3, 2), 0.5))
    assert [box.sum().item() for box in boxes] == [200, 200, 200]
    assert boxes[0, 0, 0, 0]
    assert boxes[1, 0, -1, -1]
    assert boxes[2, 0, 20, 10]
    assert not boxes[2, 0, 0, 0]


def test_resize_to_the_same_size_is_the_identity() -> None:
    x = torch.randn((2, 3, 9, 9), generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(x, 9), x)


def test_resize_to_half_is_the_mean_of_four_pixels() -> None:
    x = torch.randn((2, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    wanted = x.numpy().astype(np.float64).reshape(2, 3, 6, 2, 6, 2).mean(axis=(3, 5))
    assert np.abs(resize(x, 6).numpy() - wanted).max() < 1e-6


def test_cells_are_turned_by_any_angle() -> None:
    rays = torch.zeros(256, 1, 33, 33)
    rays[:, 0, 16, 24:] = 1.0  # from the middle to the right
    found = move(rays, 1.0, 0.0, 0.0, Draws(0, 0, 256))[:, 0]
    offsets = torch.arange(33) - 16.0
    mass = found.sum((1, 2))
    down, right = ((found * distance).sum((1, 2)) / mass for distance in (offsets[:, None], offsets))
    counts = torch.histc(torch.atan2(down, right), 8, -torch.pi, torch.pi)
    assert counts.min() > 16  # 32 are expected in each eighth of a turn


def test_what_comes_in_from_outside_is_zero() -> None:
    found = move(torch.ones(64, 1, 40, 40), 1.0, 0.3, 0.0, Draws(0, 0, 64))
    assert (found == 0).float().mean() > 0.15


def test_erased_rectangles_have_many_sizes_shapes_and_places() -> None:
    gone = erase(torch.ones(512, 1, 64, 64), 1.0, Draws(0, 0, 512))[:, 0] == 0
    rows, columns = gone.any(dim=2).double(), gone.any(dim=1).double()
    tall, wide = rows.sum(1), columns.sum(1)
    area, stretch = tall * wide / 64**2, torch.log(tall / wide)
    assert area.mean().item() == pytest.approx(0.11, abs=0.01)  # even between 0.02 and 0.2 of the image
    assert area.std().item() == pytest.approx(0.18 / 12**0.5, abs=0.01)
    assert stretch.mean().item() == pytest.approx(0, abs=0.1)
    assert stretch.std().item() == pytest.approx(np.log(3.3) / 3**0.5, abs=0.06)  # even between the ratio's ends
    down, right = ((lines @ torch.arange(64.0).double() / lines.sum(1)) for lines in (rows, columns))
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.15


def test_a_cell_is_shifted_along_both_axes_independently() -> None:
    found = move(discs(256), 1.0, 0.1, 0.0, Draws(0, 0, 256))[:, 0]
    at = torch.arange(40) - 19.5
    mass = found.sum((1, 2))
    down, right = ((found * distance).sum((1, 2)) / mass for distance in (at[:, None], at))
    # A shift is turned with the image, so the axes are those of a cell that was not.
    assert abs(np.corrcoef(down.abs(), right.abs())[0, 1]) < 0.5
    far = torch.hypot(down, right)
    assert far.max() > 0.1 * 40 * 1.2  # beyond what one axis alone reaches
    assert (far > 0.05 * 40).float().mean() == pytest.approx(1 - np.pi / 16, abs=0.07)  # even in a square
