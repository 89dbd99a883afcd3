#include "kernels.h"

#include "candle.h"

#include <string.h>
#include <utility>

#include "../kernels/attention.cu"
#include "../kernels/norms.cu"
#include "../kernels/pooling.cu"
#include "../kernels/rows.cu"

namespace emulator {

namespace {

template <typename T> constexpr bool IS_POINTER = false;
template <typename T> constexpr bool IS_POINTER<T *> = true;

template <auto kernel> struct Typed;

template <typename... Arguments, void (*kernel)(Arguments...)> struct Typed<kernel> {
    static_assert(sizeof...(Arguments) <= MOST_ARGUMENTS);

    template <size_t... i> static void call(void **arguments, std::index_sequence<i...>) {
        kernel(*static_cast<Arguments *>(arguments[i])...);
    }

    static void call(void **arguments) {
        call(arguments, std::index_sequence_for<Arguments...>());
    }

    static constexpr Kernel named(const char *name, unsigned most_threads) {
        static_assert(((sizeof(Arguments) <= sizeof(uint64_t)) && ...));
        return {name, call, most_threads, sizeof...(Arguments), {{sizeof(Arguments), IS_POINTER<Arguments>}...}};
    }
};

template <auto kernel> constexpr Kernel named(const char *name, unsigned most_threads = 1024) {
    return Typed<kernel>::named(name, most_threads);
}

constexpr Kernel KERNELS[] = {
    named<gather_rows>("gather_rows"),
    named<add_rms_norm>("add_rms_norm"),
    named<norm_rope>("norm_rope"),
    named<gated>("gated"),
    named<add>("add"),
    named<bias_activation>("bias_activation"),
    named<layer_norm>("layer_norm"),
    named<pool>("pool"),
    named<dots>("dots"),
    named<attention_32>("attention_32", THREADS),
    named<attention_64>("attention_64", THREADS),
    named<attention_128>("attention_128", THREADS),
    named<where_u8_f32>("where_u8_f32"),
    named<ucopy_bf16>("ucopy_bf16"),
    named<cast_bf16_f32>("cast_bf16_f32"),
    named<cast_f32_bf16>("cast_f32_bf16"),
    named<affine_f32>("affine_f32"),
    named<is_u32_bf16>("is_u32_bf16"),
    named<copy2d_bf16>("copy2d_bf16"),
    named<softmax_f32>("softmax_f32"),
};

} // namespace

const Kernel *find_kernel(const char *name) {
    for (const Kernel &kernel : KERNELS) {
        if (strcmp(kernel.name, name) == 0) {
            return &kernel;
        }
    }
    return nullptr;
}

} // namespace emulator
