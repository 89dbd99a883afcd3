// A thread block of a GPU on one thread of a CPU.
//
// The block's threads are fibers. A warp's lanes go on until all have come to the same collective operation, which then
// happens for all of them; a warp goes on until it comes to a barrier of the block. So one warp is as far ahead of the
// others as the kernel allows, and what it must not see yet is not there.

#pragma once

#include <stddef.h>
#include <stdint.h>

#define EMULATED_SHARED "livedex_shared"

namespace emulator {

struct Index {
    uint32_t x, y, z;
};

// The built-in variables of the thread that runs.
extern Index thread_index, block_index, block_size, grid_size;

// What the hardware may do in its own way, and a kernel must not depend on.
struct Schedule {
    // Warps in falling order.
    bool last_warp_first;
    // Asynchronous copies are there as soon as they have started, not only when they are waited for.
    bool early_copies;
};

// Runs all blocks of a grid, one after another; `call` runs one thread. The first reason for which a block cannot go on
// is written to `message`; gives whether there was none.
bool run_grid(Index grid, Index block, size_t shared_bytes, Schedule schedule, void (*call)(void *), void *argument,
              char *message, size_t message_bytes);

// Of all grids so far.
uint64_t bank_conflicts();

// What follows is for threads.

// An operation of a warp: what each lane brought, and where its result goes.
using Collective = void (*)(const void *const *operands, void *const *results);

void meet_warp(Collective collective, const void *operands, void *results);
void meet_block();

// Gives the grid up.
[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char *format, ...);

void *dynamic_shared();
// Fails unless these bytes are the block's dynamic shared memory, and aligned to their number.
void check_shared(const void *from, size_t bytes);

// Counts the accesses to shared memory that a warp makes one after another because they fall into the same banks: 32 of
// 4 bytes each. `rows`: where eight accesses of 16 bytes begin, which a device makes at once.
void count_bank_conflicts(const void *const (&rows)[8]);

// 16 bytes; null: zeros.
void start_copy(void *to, const void *from);
void end_copy_group();
void wait_for_copies(size_t under_way);

} // namespace emulator
