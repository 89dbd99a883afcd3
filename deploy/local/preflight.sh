#!/usr/bin/env bash
# Names everything a build needs and this machine lacks, before the build. Changes nothing.
#   preflight.sh [--python]     --python: also what the local stack needs
set -uo pipefail

missing=()
debian=()
macos=()

# lack WHAT DEBIAN-PACKAGES MACOS-COMMAND
lack() {
    missing+=("$1")
    debian+=("$2")
    macos+=("$3")
}

have() { command -v "$1" >/dev/null 2>&1; }

have cc || lack "a C compiler (cc)" build-essential "xcode-select --install"
have c++ || lack "a C++ compiler (c++)" build-essential "xcode-select --install"
have make || lack make build-essential "xcode-select --install"
if [ "$(uname -s)" = Linux ] && ! have pkg-config; then
    lack pkg-config "pkg-config libssl-dev" ""
elif [ -z "${OPENSSL_DIR:-}${OPENSSL_LIB_DIR:-}" ] &&
    ! pkg-config --exists openssl 2>/dev/null &&
    ! [ -e "$(brew --prefix openssl@3 2>/dev/null)/include/openssl/ssl.h" ]; then
    lack "OpenSSL's headers" libssl-dev "brew install openssl@3"
fi

if [ "${1:-}" = --python ]; then
    python="${LIVEDEX_PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        found=$("$python" -V 2>&1) || found=none
        lack "Python 3.10 or newer ($python: $found)" "python3 python3-venv" "brew install python@3.12"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        lack "Python's venv module" python3-venv "brew install python@3.12"
    fi
fi

have cargo || missing+=("a Rust toolchain (cargo): see https://rustup.rs")

[ ${#missing[@]} -eq 0 ] && exit 0

# Its arguments without empty ones and repetitions, in order, joined by the first.
joined() {
    local separator="$1"
    shift
    printf '%s\n' "$@" | awk -v s="$separator" 'NF && !seen[$0]++ { printf "%s%s", n++ ? s : "", $0 }'
}

printf 'missing: %s\n' "${missing[@]}" >&2
if [ ${#debian[@]} -gt 0 ]; then
    if [ "$(uname -s)" = Darwin ]; then
        echo "install: $(joined ' && ' "${macos[@]}")" >&2
    else
        echo "install (Debian, Ubuntu): sudo apt-get install -y $(joined ' ' ${debian[@]})" >&2
    fi
fi
exit 1
