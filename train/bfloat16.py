"""Where bfloat16 is worth computing in: hardware without instructions for it takes many times as long as in float32."""

import torch

# Of torch.cpu.get_capabilities(): x86 with AVX-512 or matrix tiles, ARM. AVX-512 without them converts every number.
CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_bfloat16(device: str | None = None) -> bool:
    """Whether ``device`` ("cpu", "cuda") has instructions for bfloat16; by default the one that training would take."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return torch.backends.mkldnn.is_available() and any(found.get(flag, False) for flag in CPU_FLAGS)


def remark(amp: bool, device: str) -> str | None:
    """What a user should know of the arithmetic of a run on ``device``, if anything."""
    if has_bfloat16(device):
        return None
    then = "--no-amp may be ten times as fast" if amp else "trains in float32"
    return f"no bfloat16 instructions on this {device}: {then}"
