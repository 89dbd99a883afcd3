#!/usr/bin/env bash
# visit.sh BINARIES OUT [--tiny] [--only SECTIONS] [--seconds N]     (paths from the root of the repository)
#
# Everything that is to be known about a GPU in less than ten minutes: correctness first, then speed
# beside transformers and sentence-transformers. BINARIES is what pack.sh filled. OUT gets visit.json (every
# number), visit.md (tables) and visit.log. LIVEDEX_BENCH_PYTHON names a Python with torch for CUDA,
# transformers and sentence-transformers; else python3 is it.
#
# --tiny is a dry run: tiny shapes, the emulator of crates/livedex-cuda instead of a GPU (it wants a C++
# compiler), and torch on the CPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
binaries=$1
out=$2
shift 2
python=${LIVEDEX_BENCH_PYTHON:-python3}

mkdir -p "$out"
# Checkpoints are written once and read several times.
memory=$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")
folder=$(mktemp -d "$memory/livedex-visit.XXXXXX")
trap 'rm -rf "$folder"' EXIT

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
PYTHONUNBUFFERED=1 "$python" -m benches.gpu.visit "$binaries" "$out" --folder "$folder" \
    "${libraries[@]}" "$@" 2>&1 | tee "$out/visit.log" || status=$?
exit "$status"
