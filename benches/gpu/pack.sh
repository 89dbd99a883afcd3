#!/usr/bin/env bash
# pack.sh OUT [PROFILE] [PROGRAM...]
#
# Builds what visit.sh needs on a machine with a GPU, and livedex itself, on a machine that needs neither a GPU nor CUDA
# (deploy/cuda/toolchain.sh), and puts it into OUT, stripped and compressed. PROFILE is one of cargo's, by default
# release. PROGRAM is among livedex, forward, lanes, reference and whole; all if none is named.
#
# Everything that travels, this repository included, should be below 64 MiB, and livedex below 50 MB: the sizes are said.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
profile=${2:-release}
shift $(($# > 1 ? 2 : 1))
programs=${*:-livedex forward lanes reference whole}
cd "$(dirname "$0")/../.."

environment=$(deploy/cuda/toolchain.sh)
eval "$environment"

# build ARGUMENTS...: the paths of the programs that were built.
build() {
    cargo build --locked --profile "$profile" --message-format=json-render-diagnostics "$@" |
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["executable"])'
}

# Examples and tests of one crate in one go, since another choice of crates has other features of their dependencies.
chosen=()
for program in $programs; do
    case $program in
    forward | lanes) chosen+=(--example "$program") ;;
    reference) chosen+=(--test "$program") ;;
    livedex | whole) ;;
    *) echo "pack.sh: $program is none of livedex, forward, lanes, reference, whole" >&2; exit 2 ;;
    esac
done
built=
[ ${#chosen[@]} = 0 ] || built=$(build --package livedex-model --features cuda "${chosen[@]}")
case " $programs " in
*" livedex "*) built="$built $(build --package livedex --features cuda --bin livedex)" ;;
esac
case " $programs " in
*" whole "*)
    built="$built $(build --package livedex-tests --features livedex-model/cuda --example whole)"
    ;;
esac

rm -f "$out"/*.xz
for path in $built; do
    # Tests are named with a hash: reference-0123456789abcdef.
    name=$(basename "$path" | sed 's/-[0-9a-f]\{16\}$//')
    strip -o "$out/$name" "$path"
    bytes=$(stat -c %s "$out/$name")
    # -T0: this is most of the time where nothing is to be built.
    xz -T0 -6 --force "$out/$name"
    echo "$name: $((bytes / 1000000)) MB, $(($(stat -c %s "$out/$name.xz") >> 20)) MiB packed"
    [ "$name" != livedex ] || [ "$bytes" -le 50000000 ] || echo "$name is larger than 50 MB" >&2
done
changes=$(git status --porcelain --untracked-files=no)
printf '{"livedex": "%s%s, %s profile", "rustc": "%s"}\n' "$(git rev-parse --short=10 HEAD)" \
    "${changes:+ with changes}" "$profile" "$(rustc --version | cut -d" " -f2-)" >"$out/built.json"
repository=$(git ls-files -z | xargs -0 stat -c %s | awk '{ n += $1 } END { print n }')
packed=$(cat "$out"/*.xz | wc -c)
echo "all of it: $((packed >> 20)) MiB and a repository of $((repository >> 20)) MiB"
[ $((packed + repository)) -le $((64 << 20)) ] || { echo "more than 64 MiB together" >&2; exit 1; }
