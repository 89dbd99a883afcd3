"""Makes static libraries that stand in for CUDA's shared ones when livedex is linked.

cudarc, as candle asks for it, links libcuda, libcublas and others by name, so that the linker wants them on the
machine that builds, and the loader on every machine that starts the program, GPU or not. Here each of their functions is
a few instructions that open the real library when one of its functions is called for the first time. So the program is
linked without any of NVIDIA's libraries, starts without them, and can say in its own words what is missing.

The functions' names are those that cudarc's bindings declare. x86-64 with the System V calling convention only.

    python3 loaders.py CUDARC OUT

CUDARC is the folder of cudarc's sources, OUT the folder that gets libcuda.a and the others.
"""

import re
import subprocess
import sys
from pathlib import Path

# What the linker calls it, cudarc's module, what the loader calls it (CUDA 13).
LIBRARIES = [
    ("cuda", "driver", "libcuda.so.1"),
    ("cublas", "cublas", "libcublas.so.13"),
    ("cublasLt", "cublaslt", "libcublasLt.so.13"),
    ("curand", "curand", "libcurand.so.10"),
    ("nvrtc", "nvrtc", "libnvrtc.so.13"),
]

# Not `culib`, which is cudarc's own.
DECLARED = re.compile(r"^pub unsafe fn ((?:cu[A-Z]|cublas|curand|nvrtc)\w+)\(", re.MULTILINE)

# What finds a function: on the first call of each.
FINDER = """
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

extern const char *const livedex_%(name)s_names[];
extern void *livedex_%(name)s_table[];

/* Two threads may both find a function; they find the same one. */
__attribute__((visibility("hidden"))) void *livedex_%(name)s_find(unsigned long index) {
    void *library = dlopen("%(soname)s", RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, livedex_%(name)s_names[index]) : 0;
    if (!function) {
        /* The program looks for the libraries before it calls any of their functions, so this is a
           library that lacks a function. */
        fprintf(stderr, "livedex: %%s of %(soname)s: %%s\\n", livedex_%(name)s_names[index], dlerror());
        _exit(70);
    }
    __atomic_store_n(&livedex_%(name)s_table[index], function, __ATOMIC_RELEASE);
    return function;
}
"""

# Keeps the registers that may hold arguments, finds the function and goes on into it.
ENTRY = """
    .text
livedex_{name}_enter:
    pushq %rdi; pushq %rsi; pushq %rdx; pushq %rcx; pushq %r8; pushq %r9; pushq %rax
    subq $128, %rsp
    movups %xmm0, (%rsp);   movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)
    movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)
    movq %r11, %rdi
    call livedex_{name}_find
    movq %rax, %r11
    movups (%rsp), %xmm0;   movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3
    movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7
    addq $128, %rsp
    popq %rax; popq %r9; popq %r8; popq %rcx; popq %rdx; popq %rsi; popq %rdi
    jmp *%r11
"""

FUNCTION = """
    .globl {function}
    .type {function}, @function
{function}:
    movq livedex_{name}_table+{offset}(%rip), %r11
    testq %r11, %r11
    jz 1f
    jmp *%r11
1:  movl ${index}, %r11d
    jmp livedex_{name}_enter
"""


def assembly(name: str, functions: list[str]) -> str:
    code = [ENTRY.format(name=name)]
    for index, function in enumerate(functions):
        code.append(FUNCTION.format(function=function, name=name, index=index, offset=8 * index))
    code.append("\n    .section .rodata\n")
    code += [f'.L{i}: .asciz "{function}"\n' for i, function in enumerate(functions)]
    names, table = f"livedex_{name}_names", f"livedex_{name}_table"
    code.append(f"\n    .section .data.rel.ro,\"aw\"\n    .hidden {names}\n    .globl {names}\n    .balign 8\n{names}:\n")
    code += [f"    .quad .L{i}\n" for i in range(len(functions))]
    code.append(f"\n    .bss\n    .hidden {table}\n    .globl {table}\n    .balign 8\n")
    code.append(f"{table}: .zero {8 * len(functions)}\n    .section .note.GNU-stack,\"\",@progbits\n")
    return "".join(code)


def make(name: str, bindings: Path, soname: str, out: Path) -> int:
    functions = sorted(set(DECLARED.findall(bindings.read_text())))
    if not functions:
        sys.exit(f"{bindings} declares no functions: cudarc's bindings look different now")
    (out / f"{name}.s").write_text(assembly(name, functions))
    (out / f"{name}.c").write_text(FINDER % {"name": name, "soname": soname})
    objects = []
    for source in (f"{name}.s", f"{name}.c"):
        objects.append(f"{source}.o")
        subprocess.run(["cc", "-O2", "-fPIC", "-c", source, "-o", objects[-1]], cwd=out, check=True)
    archive = out / f"lib{name}.a"
    archive.unlink(missing_ok=True)
    subprocess.run(["ar", "rcs", archive.name, *objects], cwd=out, check=True)
    return len(functions)


def main() -> None:
    cudarc, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for name, module, soname in LIBRARIES:
        count = make(name, cudarc / "src" / module / "sys" / "mod.rs", soname, out)
        print(f"lib{name}.a: {count} functions of {soname}")


if __name__ == "__main__":
    main()
