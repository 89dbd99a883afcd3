#!/bin/sh
# build.sh OUT: makes the shared libraries that a program with CUDA loads, with the emulator in them, in the folder OUT.
# LD_LIBRARY_PATH=OUT then runs it without a GPU. Needs a C++17 compiler (CXX, otherwise c++; CXXFLAGS is
# added to its arguments). Faults and schedules that the environment can ask for are in driver/device.h.
set -eu

out=${1:?usage: build.sh OUT}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"

# One file after another would take twice as long on two cores.
compile() {
    for source in "$@"; do
        "${CXX:-c++}" -std=c++17 -O3 -Wall -Wextra -Wno-unknown-pragmas -fPIC -fvisibility=hidden \
            -DLIVEDEX_EMULATOR ${CXXFLAGS:-} -I. -c "$source" -o "$objects/$(basename "$source" .cpp).o" || exit 1
    done
}

# library NAME OBJECT...: links one, which finds the others beside it.
library() {
    name=$1
    shift
    "${CXX:-c++}" -shared -Wl,-soname,"$name" -Wl,-rpath,'$ORIGIN' -o "$out/$name" "$@"
}

objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT

compile kernels.cpp block.cpp fiber.cpp driver/versions.cpp &
compile driver/device.cpp driver/contexts.cpp driver/memory.cpp driver/streams.cpp driver/modules.cpp \
    driver/libraries.cpp driver/product.cpp driver/cublas.cpp driver/curand.cpp
wait $!

cd "$objects"
library libcuda.so.1 kernels.o block.o fiber.o device.o contexts.o memory.o streams.o modules.o libraries.o
# It includes the emulator's bf16, and with it the names of a block's parts.
library libcublas.so.13 cublas.o product.o block.o fiber.o "$out/libcuda.so.1"
library libcurand.so.10 curand.o "$out/libcuda.so.1"
library libcublasLt.so.13 versions.o
library libnvrtc.so.13 versions.o
