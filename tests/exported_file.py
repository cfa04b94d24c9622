"""What an export publishes as model.onnx, from a network and its card at once."""

from contract.model_card import ModelCard
from export.graph import finish, translate
from train.resnet import ResNet


def to_onnx(network: ResNet, card: ModelCard) -> bytes:
    """The bytes of its float32 file, sealed, with the card in its metadata."""
    return finish(translate(network, card), card, "float32")
