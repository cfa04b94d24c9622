"""A GPU that is pretended: tensors that say ``cuda:0`` and are computed on the CPU, for what only a GPU would refuse.

As on a GPU, a tensor of the CPU that meets one of the GPU is an error, and ``torch.cuda.set_sync_debug_mode("error")``
makes one of whatever the CPU would wait for. Numbers are the CPU's, so both must agree to the bit. It knows nothing of
kernels, of arithmetic in bfloat16 or of speed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ATEN = torch.ops.aten
WAITING = {ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.masked_select.default, ATEN.equal.default}
INDEXING = {ATEN.index.Tensor, ATEN.index_put_.default}
MEMORY = 2**34  # bytes
_mode = ["default"]  # of set_sync_debug_mode


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Code in the block finds one usable GPU; its tensors are of no use after it."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        cuda: dict[str, Callable[..., Any]] = {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "set_device": lambda _: None,
            "synchronize": lambda *_: None,
            "get_device_name": lambda *_: "a pretended GPU",
            "mem_get_info": lambda *_: (MEMORY, MEMORY),
            "is_bf16_supported": lambda **_: True,
            "set_sync_debug_mode": lambda mode: _mode.__setitem__(0, mode),
            "_lazy_init": lambda: None,
        }
        for name, function in cuda.items():
            patch.setattr(torch.cuda, name, function)
        # Module.to must make new parameters: the storage of an old one would stay where it is.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(_Functions())
        stack.enter_context(_Dispatch())
        yield


class OnGpu(Tensor):
    """A tensor of the pretended GPU; ``held`` is where its numbers are."""

    held: Tensor
    device = property(lambda _: GPU)
    is_cuda = property(lambda _: True)
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGpu":
        made: OnGpu = Tensor._make_subclass(cls, held, held.requires_grad)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _computed(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnGpu":
        copy = OnGpu(self.held.detach().clone())
        copy.requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copy._is_param = True
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:  # as torch.save and map_location="cpu" do it together
        return self.held.__reduce_ex__(protocol)


class _Dispatch(TorchDispatchMode):
    """Operators: what is made on the GPU, and what comes of tensors that are there."""

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        wanted = (kwargs or {}).get("device")
        return _computed(func, args, kwargs or {}, made=wanted is not None and torch.device(wanted).type == "cuda")


class _Functions(TorchFunctionMode):
    """Ways from one device to the other, which torch's operators take for none: all numbers are on the CPU."""

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        on_gpu = bool(args) and isinstance(args[0], OnGpu)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return _taken(func, args, kwargs)
        if func is Tensor.pin_memory:
            return _pinned(args[0].clone()) if not on_gpu else _refused("a tensor of the GPU cannot be pinned")
        if func is Tensor.numpy and on_gpu:
            _refused("a tensor of the GPU has no NumPy array")
        if func is Tensor.tolist and on_gpu:
            _waits("tolist")
            return args[0].held.tolist()
        pin = kwargs.pop("pin_memory", False) if func in (torch.empty, torch.zeros) else False
        made = func(*args, **kwargs)
        return _pinned(made) if pin else made


def _taken(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """``to``, ``cpu`` and ``cuda``: the tensor on its device, of its type."""
    tensor, rest = args[0], list(args[1:])
    places = [*rest, kwargs.pop("device", None), kwargs.pop("other", None)]
    named = {Tensor.cpu: CPU, Tensor.cuda: GPU}.get(func)
    for place in places:
        named = _device_of(place) or named
    no_wait = kwargs.pop("non_blocking", False) and getattr(tensor, "pinned", False)
    dtype = next((value for value in [*rest, kwargs.pop("dtype", None)] if isinstance(value, torch.dtype)), None)
    here = GPU if isinstance(tensor, OnGpu) else CPU
    if named is not None and named.type != here.type:
        if not no_wait:
            _waits(f"a copy of {tuple(tensor.shape)} to {named.type}")
        tensor = _Moved.apply(tensor)
    elif dtype is None and not kwargs:
        return tensor
    return Tensor.to(tensor, dtype or tensor.dtype, **kwargs)


def _device_of(place: Any) -> torch.device | None:
    if isinstance(place, Tensor):
        return GPU if isinstance(place, OnGpu) else CPU
    return torch.device(place) if isinstance(place, str | torch.device) else None


class _Moved(torch.autograd.Function):
    """From one device to the other; gradients go the other way."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        return tensor.held.detach().clone() if isinstance(tensor, OnGpu) else OnGpu(tensor.detach().clone())

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient.held.detach().clone() if isinstance(gradient, OnGpu) else OnGpu(gradient.detach().clone())


def _computed(func: Any, args: Any, kwargs: dict[str, Any], made: bool = False) -> Any:
    """The operator's result on the CPU, said to be on the GPU where one of its tensors is, or where it is ``made``."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    if there:
        _check(func, args, [tensor for tensor in tensors if not isinstance(tensor, OnGpu)])
    elif made and tensors:
        _waits(f"{func} to the GPU")
    owners = {id(tensor.held): tensor for tensor in there}
    args, kwargs = tree_map(lambda leaf: leaf.held if isinstance(leaf, OnGpu) else leaf, (args, kwargs))
    if made:
        kwargs = kwargs | {"device": CPU}

    def say_where(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OnGpu) or not (there or made):
            return value
        return owners[id(value)] if id(value) in owners else OnGpu(value)  # what changed in place is still itself

    return tree_map(say_where, func(*args, **kwargs))


def _check(func: Any, args: Any, strangers: list[Tensor]) -> None:
    """Complain as a GPU would of an operator with tensors there and ``strangers`` on the CPU."""
    if func in WAITING:
        _waits(str(func))
    elif func in INDEXING:
        masks = any(index is not None and index.dtype == torch.bool for index in args[1])
        filled = func is ATEN.index_put_.default and args[2].numel() == 1  # is done by masked_fill
        if strangers or (masks and not filled):
            _waits(f"{func} by a mask, or by indices on the CPU")
    elif func is ATEN.copy_.default:
        if strangers:
            _waits("copy_ between CPU and GPU")
    elif any(tensor.ndim for tensor in strangers):
        _refused(f"{func}: tensors on the CPU, {[tuple(tensor.shape) for tensor in strangers]}, meet one on the GPU")


def _pinned(tensor: Tensor) -> Tensor:
    tensor.pinned = True  # type: ignore[attr-defined]
    return tensor


def _waits(what: str) -> None:
    if _mode[0] == "error":
        _refused(f"called a synchronizing CUDA operation: {what}")


def _refused(said: str) -> NoReturn:
    raise RuntimeError(said)
