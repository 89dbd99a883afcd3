"""What the numbers were measured on, for the head of every report."""

import datetime
import os
import platform
import re
import subprocess

import sentence_transformers
import torch
import transformers

# What decides the speed of matrix products on x86.
FLAGS = ["avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_bf16",
         "amx_int8"]


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def output(*command):
    """What a command prints, or nothing where there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor():
    """Model, cores and the flags of the above."""
    text = output("lscpu")
    field = lambda name: (re.search(rf"^{name}:\s*(.*)$", text, re.M) or ["", ""])[1]
    flags = field("Flags").split()
    return {
        "model": field("Model name") or platform.processor() or platform.machine(),
        "family": f"{field('CPU family')}/{field('Model')}",
        "cores": int(field(r"CPU\(s\)") or 0),
        "flags": [flag for flag in FLAGS if flag in flags],
    }


def describe(threads, matmul):
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(),
        "threads": threads,
        # Of the minute before: contenders suffer from other work in different ways.
        "load": round(os.getloadavg()[0], 1),
        "livedex": output("git", "rev-parse", "--short=10", "HEAD") + (
            " with changes" if changed else ""),
        "matmul": matmul,
        "rustc": output("rustc", "--version").removeprefix("rustc "),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sentence-transformers": sentence_transformers.__version__,
        "python": platform.python_version(),
    }


def sentence(machine):
    """For people."""
    p = machine["processor"]
    return (
        f"{machine['date']}. {p['model']} (family/model {p['family']}; {', '.join(p['flags'])}), "
        f"{p['cores']} cores, {machine['threads']} threads for everyone, "
        f"load average {machine['load']} at the start. "
        f"Livedex {machine['livedex']} with rustc {machine['rustc']}, products by "
        f"{machine['matmul']} (q8_0: candle); torch {machine['torch']}, "
        f"transformers {machine['transformers']}, "
        f"sentence-transformers {machine['sentence-transformers']}, Python {machine['python']}."
    )
