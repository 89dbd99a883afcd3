#!/usr/bin/env bash
# visit.sh BINARIES OUT [--tiny] [--only SECTIONS] [--seconds N] [--spawn]     (paths from the root of the repository)
#
# Everything that is to be known about a GPU in one command of less than ten minutes: correctness first, then speed
# beside transformers and sentence-transformers. BINARIES is what pack.sh filled. OUT gets visit.json (every
# number), visit.md (tables) and visit.log. LIVEDEX_BENCH_PYTHON names a Python with torch for CUDA,
# transformers and sentence-transformers; else python3 is it.
#
# --seconds counts from the start of this script, by default 520: a section that cannot end in time is not begun, one
# that is late is ended within 10 s more, and the report says which are missing. In two calls there is time for all,
# each with an OUT of its own, since a call begins its files anew:
#
#   visit.sh BINARIES A --only facts,suites,models,parity,replay,embed,rerank,latency,lanes
#   visit.sh BINARIES B --only parity-rerank,pipeline,replay-4b,embed-4b,parity-untied,sanitizer
#   python3 -m benches.gpu.aims A/visit.json B/visit.json      (prints the page of both, anywhere)
#
# --tiny is a dry run: tiny shapes, the emulator of crates/livedex-cuda instead of a GPU (it wants a C++
# compiler), and torch on the CPU. --spawn starts sections as where a process that has torch cannot be forked.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binaries=$1
out=$2
shift 2
python=${LIVEDEX_BENCH_PYTHON:-python3}

mkdir -p "$out"
# Checkpoints are written once and read several times: in memory, if there is room for them (16 GB) and more.
# Containers often have 64 MB there.
free=$(df --output=avail -B1 /dev/shm 2>/dev/null | tail -n 1 || true)
if [ -w /dev/shm ] && [ "${free:-0}" -ge 24000000000 ]; then
    parent=/dev/shm
else
    parent=${TMPDIR:-/tmp}
fi
folder=$(mktemp -d "$parent/livedex-visit.XXXXXX")
trap 'rm -rf "$folder"' EXIT
echo "visit.sh: checkpoints in $folder; /dev/shm has $((${free:-0} / 1000000)) MB free, of which 24,000 are wanted"

# The driver compiles candle's kernels for this GPU, some 15 s: kept where it can write, only the first of all processes
# waits for that.
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$folder/cuda-cache}
mkdir -p "$CUDA_CACHE_PATH"
# torch then looks for a GPU without opening it, and processes can still be forked.
export PYTORCH_NVML_BASED_CUDA_CHECK=1

# What was packed for the way is unpacked.
if compgen -G "$binaries/*.xz" >/dev/null; then
    mkdir "$folder/bin"
    cp "$binaries/built.json" "$folder/bin"
    for packed in "$binaries"/*.xz; do
        name=$(basename "$packed" .xz)
        "$python" -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"))' "$packed" "$folder/bin/$name"
        chmod +x "$folder/bin/$name"
    done
    binaries=$folder/bin
fi

libraries=()
for argument in "$@"; do
    if [ "$argument" = --tiny ]; then
        crates/livedex-cuda/emulator/build.sh "$folder/emulator"
        libraries=(--libraries "$folder/emulator")
    fi
done

status=0
# SECONDS is bash's own: since this script began.
PYTHONUNBUFFERED=1 "$python" -m benches.gpu.visit "$binaries" "$out" --folder "$folder" --spent "$SECONDS" \
    "${libraries[@]}" "$@" 2>&1 | tee "$out/visit.log" || status=$?
exit "$status"
