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
    size_t n_arguments;
    struct Argument {
        unsigned char bytes;
        // Into device memory.
        bool is_pointer;
    } arguments[MOST_ARGUMENTS];
};

// Null: there is none of this name.
const Kernel *find_kernel(const char *name);

} // namespace emulator
