// Threads of one block as fibers: each has a stack, and they take turns on one thread of the system.

#pragma once

#include <stddef.h>

namespace emulator {

struct Fiber {
    void *stack_pointer;
};

// Makes a fiber of the stack that ends at `top`; it begins with `entry`, which must not return.
void begin(Fiber &fiber, void *top, size_t size, void (*entry)());

// Leaves `from`, goes on with `to`.
void switch_to(Fiber &from, Fiber &to);

} // namespace emulator
