// The kernels by their names.

#pragma once

#include <stddef.h>

namespace emulator {

constexpr size_t MOST_ARGUMENTS = 16;

struct Kernel {
    const char *name;
    // Runs one thread; the arguments are as cuLaunchKernel gets them: pointers to the values.
    void (*call)(void **arguments);
    // Threads of a block that it is made for, at most; `__launch_bounds__`.
    unsigned most_threads;
    // Which arguments are pointers into device memory: one bit each.
    unsigned pointers;
};

// Null: there is none of this name.
const Kernel *find_kernel(const char *name);

} // namespace emulator
