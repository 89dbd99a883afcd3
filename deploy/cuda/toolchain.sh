#!/usr/bin/env bash
# Prints, as lines for `eval`, the environment in which `cargo build --features cuda` works on a machine
# that has neither a GPU nor CUDA: the compiler comes from Python packages (requirements.txt), and the linker gets
# stand-ins for NVIDIA's libraries (loaders.py). Both are kept in $LIVEDEX_CACHE/cuda, 280 MB.
#
#   eval "$(deploy/cuda/toolchain.sh)" && cargo build --release --features cuda --package livedex
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${LIVEDEX_CACHE:-$here/../../.livedex/cache}/cuda
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

[ "$(uname -m)" = x86_64 ] || { echo "deploy/cuda: x86-64 only, this is $(uname -m)" >&2; exit 1; }

# The compiler. The stamp is the list of packages, so a change of it installs again.
venv=$cache/venv
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    echo "CUDA 13.0 compiler: installing it into $venv (280 MB)" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
cu=$(echo "$venv"/lib/python3*/site-packages/nvidia/cu13)
[ -x "$cu/bin/nvcc" ] || { echo "deploy/cuda: no nvcc in $cu/bin" >&2; exit 1; }

# The libraries to link, by the bindings that Cargo.lock names.
cudarc=$(cd "$here/../.." && cargo metadata --format-version 1 --features livedex/cuda |
    python3 -c 'import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')
home=$cache/home
made="$cudarc $(cat "$here/loaders.py" "$here/nvcc.sh" | sha256sum)"
if [ "$(cat "$home/made" 2>/dev/null)" != "$made" ]; then
    rm -rf "$home"
    mkdir -p "$home/bin" "$home/lib64"
    python3 "$here/loaders.py" "$cudarc" "$home/lib64" >&2
    # candle's kernels use the runtime library; the static one opens the driver by itself.
    ln -s "$cu/lib/libcudart_static.a" "$home/lib64/libcudart.a"
    ln -s "$cu/include" "$cu/nvvm" "$home/"
    sed "s|@NVCC@|'$cu/bin/nvcc'|" "$here/nvcc.sh" > "$home/bin/nvcc"
    chmod +x "$home/bin/nvcc"
    echo "$made" > "$home/made"
fi

cat <<EOF
export PATH='$home/bin':"\$PATH"
export NVCC='$home/bin/nvcc'
export CUDA_HOME='$home'
export CUDARC_CUDA_VERSION=13000
export CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90}
EOF
