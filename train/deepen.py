"""Weights of a network for a deeper one of the same blocks, which then computes the same.

Source: Net2DeeperNet, Chen et al. 2016 (arXiv:1511.05641): layers put in as identities. A residual block is one while
gamma and beta of its last BatchNorm are zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1), as ``build_resnet``
leaves them.
"""

from torch import Tensor

from train.resnet import ARCHITECTURES

STAGES = ("layer1", "layer2", "layer3", "layer4")


def can_deepen(shallow: str, deep: str) -> bool:
    """Whether the network ``deep`` is ``shallow`` with blocks put in: the same blocks, none of the stages shorter."""
    if shallow == deep or shallow not in ARCHITECTURES or deep not in ARCHITECTURES:
        return False
    (block, depths), (deeper_block, deeper) = ARCHITECTURES[shallow], ARCHITECTURES[deep]
    return block is deeper_block and all(few <= many for few, many in zip(depths, deeper, strict=True))


def deepened(weights: dict[str, Tensor], shallow: str, deep: str, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of ``deep`` that computes what ``shallow`` with ``weights`` does.

    The blocks of a stage keep their order and are spread over the deeper stage, the first one staying first; those
    between them are as in ``fresh``, the state of a fresh ``deep``. Raises ``ValueError`` unless ``can_deepen``.
    """
    if not can_deepen(shallow, deep):
        raise ValueError(f"{deep} is not {shallow} with blocks put in")
    places = {
        f"{stage}.{block}": f"{stage}.{block * many // few}"
        for stage, few, many in zip(STAGES, ARCHITECTURES[shallow][1], ARCHITECTURES[deep][1], strict=True)
        for block in range(few)
    }
    return fresh | {_placed(name, places): value for name, value in weights.items()}


def _placed(name: str, places: dict[str, str]) -> str:
    stage, block, *rest = [*name.split(".", 2), ""]
    old = f"{stage}.{block}"
    return f"{places[old]}.{rest[0]}" if old in places else name
