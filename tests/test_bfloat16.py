"""bfloat16 where the hardware computes in it, float32 elsewhere, said to the user and held in the recipe."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro
from small_network import config_of, small_runs

from contract.errors import UserError
from train.bfloat16 import has_bfloat16, remark
from train.config import Config, recipe_of
from train.loop import train


def on_processor(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    """A machine without a GPU whose processor has ``flags``, and no others."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(flags, True) | {"avx512_4vnniw": False})


def on_gpu(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """A GPU that has bfloat16, or has to emulate it; the processor has none."""
    on_processor(monkeypatch, "avx2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        (("avx2", "avx512_f", "avx512_bf16"), True),
        (("avx2", "avx512_f", "amx_bf16"), True),
        (("neon", "bf16"), True),
        (("avx2", "fma3"), False),
        (("avx2", "avx512_f", "avx512_vnni"), False),
        (("neon",), False),
    ],
)
def test_default_is_what_the_processor_computes_in(
    flags: tuple[str, ...], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_processor(monkeypatch, *flags)
    assert has_bfloat16() is has
    assert Config().amp is has
    assert tyro.cli(Config, args=[]).amp is has
    assert recipe_of(Config())["amp"] is has
    assert tyro.cli(Config, args=["--amp"]).amp is True
    assert tyro.cli(Config, args=["--no-amp"]).amp is False


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_counts_before_the_processor_unless_it_emulates(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, native)
    assert Config().amp is native
    assert not has_bfloat16("cpu")


def test_without_onednn_a_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    on_processor(monkeypatch, "avx512_bf16")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_bfloat16("cpu")


def test_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    on_processor(monkeypatch, "avx2")
    assert remark(True, "cpu") == "no bfloat16 instructions on this cpu: --no-amp may be ten times as fast"
    assert remark(False, "cpu") == "no bfloat16 instructions on this cpu: trains in float32"
    on_processor(monkeypatch, "avx512_bf16")
    assert remark(True, "cpu") is remark(False, "cpu") is None


def test_a_run_says_it_and_is_not_resumed_in_other_arithmetic(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_processor(monkeypatch, "avx2")
    config = replace(config_of(shards, tmp_path), amp=Config().amp)
    with small_runs():
        train(config)
        assert "resnet18: no bfloat16 instructions on this cpu: trains in float32\n" in capsys.readouterr().out
        on_processor(monkeypatch, "avx512_bf16")
        with pytest.raises(UserError, match=r"last\.pt: cannot be resumed, these differ: amp False -> True"):
            train(replace(config, amp=Config().amp, resume=True))
        train(replace(config, resume=True))
    assert "bfloat16" not in capsys.readouterr().out
