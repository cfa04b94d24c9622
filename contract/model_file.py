"""The seal of an ONNX file, a SHA-256 of all its bytes kept in its own metadata; and where int8 sums are exact.

A flipped bit in a weight is still a valid model with other answers; the seal makes it an error. It finds damage, not
malice: whoever changes a file on purpose can seal it again, so a reader checks the rest as if there were none.
"""

import hashlib
import math
from typing import Any

import numpy as np

from contract.errors import UserError

DIGEST_KEY = "leukoshard.sha256"
UNSEALED = "0" * 64  # what stands in the digest's place while the file is hashed
# On x86 without VNNI, the products of uint8 inputs and int8 weights of two neighbouring input channels (0 and 1, 2 and
# 3, ...) are added to 16 bits (vpmaddubsw), where they may saturate: other logits, in silence. They do not where the
# weights of a pair, those of one sign, sum to this at most: 255 * 128 < 2**15.
LARGEST_PAIR = 128
# Of a session, for files whose weights may: they are opened as uint8, and all sums are exact, but slow: onnxruntime
# does so with VNNI too, where there is no need (docs/model-card.md).
EXACT_INT8 = ("session.x64quantprecision", "1")
_INT8 = 3  # TensorProto.INT8
# StringStringEntryProto in protobuf's wire format: field 1 is the key, field 2 a value of 64 bytes.
_ENTRY = bytes([0x0A, len(DIGEST_KEY)]) + DIGEST_KEY.encode() + bytes([0x12, len(UNSEALED)])


def seal(data: bytes) -> bytes:
    """Put the digest into a serialised model whose metadata holds ``DIGEST_KEY: UNSEALED``."""
    start = _digest_place(data)
    if start is None or data[start : start + len(UNSEALED)] != UNSEALED.encode():
        raise ValueError(f"the model must hold the metadata {DIGEST_KEY}: {UNSEALED} once")
    return data[:start] + _digest(data, start).encode() + data[start + len(UNSEALED) :]


def check_seal(data: bytes, source: str) -> None:
    """Raise ``UserError`` naming ``source`` when the file has no seal, or any byte is not what was sealed."""
    start = _digest_place(data)
    if start is None:
        raise UserError(f"{source}: has no seal: it was not made by `make export`, or it is damaged")
    if data[start : start + len(UNSEALED)] != _digest(data, start).encode():
        raise UserError(f"{source}: damaged: its bytes are not those that were sealed; export it again (make export)")


def external_tensor(message: Any) -> str | None:
    """The name of the first tensor that lies in another file, anywhere in a parsed model; None where there is none.

    ``message`` is one of protobuf's. Initialisers are not alone: an attribute of a node may hold tensors, dense and
    sparse, and graphs with more of them.
    """
    if message.DESCRIPTOR.full_name == "onnx.TensorProto" and (message.data_location or message.external_data):
        return str(message.name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                if (found := external_tensor(part)) is not None:
                    return found
    return None


def int8_entries(model: Any) -> tuple[tuple[str, str], ...]:
    """What a session's configuration needs so that a parsed model's int8 sums are exact on any processor.

    That is nothing, but for files of earlier versions and of others, whose weights may saturate.
    """
    return (EXACT_INT8,) if any(_may_saturate(tensor) for tensor in model.graph.initializer) else ()


def _may_saturate(tensor: Any) -> bool:
    """Whether it is a convolution's int8 weights, ``[O, I, kh, kw]``, with a pair above ``LARGEST_PAIR``."""
    if tensor.data_type != _INT8 or len(tensor.dims) != 4:
        return False
    if len(tensor.raw_data) != math.prod(tensor.dims):  # stored in another way than ours: not looked at
        return True
    weights = np.frombuffer(tensor.raw_data, np.int8).reshape(tensor.dims).astype(np.int16)
    second = weights[:, 1::2]
    first = weights[:, : 2 * second.shape[1] : 2]  # a channel that is left over has no neighbour, or one of zeros
    sums = (np.maximum(sign * first, 0) + np.maximum(sign * second, 0) for sign in (1, -1))
    return any(int(found.max(initial=0)) > LARGEST_PAIR for found in sums)


def _digest_place(data: bytes) -> int | None:
    """Where the digest begins; None unless there is exactly one."""
    found = data.find(_ENTRY)
    if found < 0 or data.find(_ENTRY, found + 1) >= 0 or found + len(_ENTRY) + len(UNSEALED) > len(data):
        return None
    return found + len(_ENTRY)


def _digest(data: bytes, start: int) -> str:
    """Hex SHA-256 of all bytes, with ``UNSEALED`` in the digest's own place."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(UNSEALED.encode())
    digest.update(view[start + len(UNSEALED) :])
    return digest.hexdigest()
