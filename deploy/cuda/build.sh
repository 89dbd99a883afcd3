#!/usr/bin/env bash
# Builds livedex for NVIDIA GPUs on a machine that needs neither a GPU nor CUDA; see toolchain.sh for what it installs.
#
#   deploy/cuda/build.sh [cargo's arguments]
#
# CUDA_COMPUTE_CAP=90 (the default) is for the H100 and H200 only, 80 for every GPU from Ampere on: it says what candle's own
# kernels are compiled for. Livedex' are PTX for 80 in any case, which the driver compiles for the GPU that it finds.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=$(deploy/cuda/toolchain.sh)
eval "$environment"
cargo build --locked --release --package livedex --features cuda "$@"

binary=${CARGO_TARGET_DIR:-target}/release/livedex
strip "$binary"
echo "$binary: $(($(stat -c %s "$binary") >> 20)) MB, for compute capability $CUDA_COMPUTE_CAP"
