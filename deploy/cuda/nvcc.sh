#!/bin/sh
# NVIDIA's compiler, but for what of candle's kernels nothing here calls: those for quantised weights and mixtures of
# experts, for sums and functions of numbers, for convolutions and for sorting. They would take most of the build's
# time and half of the binary. Functions that the linker wants end the program; kernels are missing when they are looked
# up by name.
#
# toolchain.sh puts this in the compiler's place, with @NVCC@ set.
output= folder= source= previous=
for argument; do
    case $previous in
    -o | --output-file) output=$argument ;;
    -odir | --output-directory) folder=$argument ;;
    esac
    case $argument in *.cu) source=$argument ;; esac
    previous=$argument
done

case $source in
*/moe/*.cu | */mmq_gguf/*.cu)
    exec cc -c -x c /dev/null -o "$output"
    ;;
*/mmvq_gguf.cu)
    # The names of all of them are candle's own list.
    sed -n 's/^ *pub fn \([A-Za-z0-9_]*\)(.*/void \1(void) { abort(); }/p' "$(dirname "$source")/ffi.rs" |
        { echo '#include <stdlib.h>'; cat; } | cc -c -x c - -o "$output"
    ;;
*/quantized.cu | */binary.cu | */conv.cu | */sort.cu)
    : > "$folder/$(basename "$source" .cu).ptx"
    ;;
*/unary.cu)
    # Of the functions of one number only the identity, which copies.
    sed '/^UNARY_OP[^(]*(/{/ucopy_/!d;}' "$source" > "$folder/unary.cu"
    for argument; do
        shift
        [ "$argument" != "$source" ] || argument=$folder/unary.cu
        set -- "$@" "$argument"
    done
    exec @NVCC@ -I "$(dirname "$source")" "$@"
    ;;
*)
    exec @NVCC@ "$@"
    ;;
esac
