"""Which type a device computes matrix products in."""

from pathlib import Path

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(setting: str, device: torch.device) -> str:
    """Resolve `auto` to `fp32`, `bf16` or `fp16` on a device; other settings are returned unchanged.

    CPUs without bf16 instructions emulate it, slowly. GPUs before Ampere (V100, T4) have matrix units for fp16 only.
    """
    if setting != "auto":
        return setting
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"
