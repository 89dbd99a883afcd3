"""What the machine is, and its two ceilings: bytes per second and products per second."""

import glob
import os
import pathlib
import sysconfig

import torch

from .. import machine, report
from .clock import Clock


def libraries():
    """Folders with the CUDA libraries that our programs load: where the loader does not look by itself."""
    # A virtual environment may have torch from the system's packages: beside it are its libraries.
    beside = pathlib.Path(torch.__file__).parents[1]
    known = [folder for packages in (beside, sysconfig.get_paths()["purelib"])
             for folder in (f"{packages}/nvidia/cu13/lib",
                            *sorted(glob.glob(f"{packages}/nvidia/*/lib")))]
    known += ["/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"]
    wanted = ("libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10")
    return [folder for folder in dict.fromkeys(known)
            if any(os.path.exists(f"{folder}/{name}") for name in wanted)]


def measure(visit, results):
    fields = "name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm,temperature.gpu"
    gpu = machine.output("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
    cuda = visit.torch == "cuda"
    if cuda and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    rows = [
        ["GPU", torch.cuda.get_device_name() if cuda else "the emulator"],
        [fields, gpu or "no nvidia-smi"],
        ["torch's CUDA", torch.version.cuda or ""],
        ["libraries", ", ".join(visit.libraries)],
        ["memory for checkpoints", f"{free(visit.folder) >> 30} GiB in {visit.folder}"],
    ]
    results.table("Machine", ["", ""], rows)
    # After the table: if it does not start, the table says with what.
    with visit.livedex() as livedex:
        results.row("Livedex computes on", livedex.device)

    clock = Clock(visit.torch)
    count = visit.work.copied // 2
    source = torch.randn(count, device=visit.torch, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    seconds = clock.median(lambda: target.copy_(source), 10)
    # Each byte is read and written.
    results.figure("copy_bytes_per_second", 2 * visit.work.copied / seconds)
    side = visit.work.square
    a, b = (torch.randn(side, side, device=visit.torch, dtype=torch.bfloat16) for _ in range(2))
    seconds = clock.median(lambda: torch.mm(a, b), 10)
    results.figure("product_flops", 2 * side**3 / seconds)
    figures = results.data["figures"]
    results.table("Ceilings, random data", ["", ""], [
        [f"copy of {visit.work.copied / 1e9:.2f} GB, read and written",
         f"{report.amount(figures['copy_bytes_per_second'] / 1e12)} TB/s"],
        [f"bf16 product of {side:,} x {side:,}",
         f"{report.amount(figures['product_flops'] / 1e12)} TFLOP/s"]])


def free(folder):
    """Bytes."""
    return os.statvfs(pathlib.Path(folder)).f_bavail * os.statvfs(folder).f_frsize
