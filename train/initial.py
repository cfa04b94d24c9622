"""Weights to start from: an earlier checkpoint of the same network, say of smaller images, in place of random ones.

Source: growing images across runs as in progressive resizing, Howard et al., DAWNBench 2018; growing depth:
``train.deepen``. The weights are this project's own, trained from scratch.
"""

from torch import nn

from contract.manifest import Manifest
from contract.publish import file_sha256
from train.checkpoint import load_weights
from train.config import Config
from train.deepen import can_deepen, deepened
from train.lent import load_lent, refuse_different
from train.resnet import build_apart


def load_initial(network: nn.Module, config: Config, manifest: Manifest) -> str:
    """Copy the weights of ``config.initial`` into ``network``; returns what a card says of them ("": none).

    Where they began with weights of an earlier run themselves, it says so of those too, the latest first. A shallower
    network of the same blocks is deepened: ``network`` computes what it does.

    Raises ``UserError`` for a checkpoint of any other network, of other classes, or of another split of the data, and
    for a refit's where this run is none: it may have learned cells that are judged here. The size of its images may be
    another.
    """
    path = config.initial
    if path is None:
        return ""
    card, state = load_lent("--initial", path, config)
    deepens = can_deepen(card.arch, config.arch)
    arch = card.arch if deepens else config.arch
    channels = network.get_submodule("conv1").in_channels
    now = {"arch": arch, "classes": manifest.classes, "split": manifest.source_digest[:12], "channels": channels}
    split = str(card.training.get("source_digest", "unknown"))
    then = {"arch": card.arch, "classes": card.classes, "split": split[:12], "channels": card.channels}
    refuse_different("--initial", path, "cannot be started from", then, now)
    if deepens:
        shallow = build_apart(card.arch, card.channels)
        load_weights(shallow, state, path)
        state = {"model": deepened(shallow.state_dict(), card.arch, config.arch, network.state_dict())}
    load_weights(network, state, path)
    weights = f"epoch {card.epoch} at {card.recipe.size} px, SHA-256 {file_sha256(path)}"
    earlier = card.training.get("initial")
    if deepens:
        weights = f"{card.arch} deepened: {weights}"
    return f"{weights}; before: {earlier}" if earlier else weights
