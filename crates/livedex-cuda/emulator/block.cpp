#include "block.h"

#include "fiber.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vector>

// The section of static shared memory, if a kernel has some.
extern "C" {
extern char __start_livedex_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_livedex_shared[] __attribute__((weak, visibility("hidden")));
}

namespace emulator {

Index thread_index, block_index, block_size, grid_size;

namespace {

constexpr uint32_t WARP = 32;
constexpr size_t STACK = 64 * 1024;
// What is written behind the dynamic shared memory, and must stay there.
constexpr size_t GUARD = 4096;
// NaN in bf16 and f32.
constexpr int POISON = 0xff;

enum class State { Ready, AtWarp, AtBlock, Done };

struct Copy {
    void *to;
    const void *from;
};

struct Thread {
    Fiber fiber{};
    Index index{};
    State state = State::Ready;
    Collective collective = nullptr;
    const void *operands = nullptr;
    void *results = nullptr;
    // Groups of copies, the last one not ended yet.
    std::vector<std::vector<Copy>> copies;
};

// Never destroyed: a program may end while one of its threads still uses the device.
std::vector<Thread> &threads = *new std::vector<Thread>;
std::vector<char> &dynamic = *new std::vector<char>;
size_t dynamic_bytes;
char *stacks;
size_t n_stacks;
Fiber scheduler;
Thread *running;
Schedule how;
void (*entry)(void *);
void *entry_argument;
bool failed;
char *reason;
size_t reason_bytes;
uint64_t conflicts;

void give_reason(const char *format, va_list arguments) {
    if (!failed) {
        failed = true;
        const int n = snprintf(reason, reason_bytes, "block (%u, %u, %u), thread %u: ", block_index.x, block_index.y,
                               block_index.z, thread_index.x);
        if (n > 0 && (size_t)n < reason_bytes) {
            vsnprintf(reason + n, reason_bytes - n, format, arguments);
        }
    }
}

__attribute__((format(printf, 1, 2))) void give_reason(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    give_reason(format, arguments);
    va_end(arguments);
}

void leave(State state) {
    running->state = state;
    switch_to(running->fiber, scheduler);
}

void thread_main() {
    entry(entry_argument);
    leave(State::Done);
    // Nobody goes on with a thread that is done.
    abort();
}

void resume(Thread &thread) {
    running = &thread;
    thread_index = thread.index;
    switch_to(scheduler, thread.fiber);
}

char *aligned_dynamic() {
    return reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(dynamic.data()) + 1023) & ~(uintptr_t)1023);
}

// Runs a warp until it comes to a barrier of the block, or to its end.
void run_warp(Thread *lanes) {
    while (!failed) {
        for (uint32_t lane = 0; lane < WARP && !failed; lane++) {
            if (lanes[lane].state == State::Ready) {
                resume(lanes[lane]);
            }
        }
        if (failed) {
            return;
        }
        const void *operands[WARP];
        void *results[WARP];
        for (uint32_t lane = 0; lane < WARP; lane++) {
            if (lanes[lane].state != lanes[0].state || lanes[lane].collective != lanes[0].collective) {
                thread_index = lanes[lane].index;
                return give_reason("is not where the first lane of its warp is, which waits for all lanes");
            }
            operands[lane] = lanes[lane].operands;
            results[lane] = lanes[lane].results;
        }
        if (lanes[0].state != State::AtWarp) {
            return;
        }
        lanes[0].collective(operands, results);
        for (uint32_t lane = 0; lane < WARP; lane++) {
            lanes[lane].state = State::Ready;
            lanes[lane].collective = nullptr;
        }
    }
}

void prepare_block() {
    memset(dynamic.data(), POISON, dynamic.size());
    if (__start_livedex_shared) {
        memset(__start_livedex_shared, POISON, __stop_livedex_shared - __start_livedex_shared);
    }
    for (size_t i = 0; i < threads.size(); i++) {
        Thread &thread = threads[i];
        thread.state = State::Ready;
        thread.collective = nullptr;
        thread.copies.assign(1, {});
        // Tops apart by more than stacks are, else all stacks would share the same few lines of the cache.
        char *top = stacks + (i + 1) * STACK - i % 64 * 192;
        begin(thread.fiber, top, STACK / 2, thread_main);
    }
}

void run_block() {
    prepare_block();
    const size_t warps = threads.size() / WARP;
    while (!failed) {
        for (size_t i = 0; i < warps && !failed; i++) {
            run_warp(&threads[(how.last_warp_first ? warps - 1 - i : i) * WARP]);
        }
        if (failed) {
            return;
        }
        for (Thread &thread : threads) {
            if (thread.state != threads[0].state) {
                thread_index = thread.index;
                return give_reason("has ended, or waits for a barrier that others never reach");
            }
        }
        if (threads[0].state == State::Done) {
            break;
        }
        for (Thread &thread : threads) {
            thread.state = State::Ready;
        }
    }
    const char *guard = aligned_dynamic() + dynamic_bytes;
    for (size_t i = 0; i < GUARD; i++) {
        if ((unsigned char)guard[i] != POISON) {
            return give_reason("the block has written past its %zu bytes of dynamic shared memory", dynamic_bytes);
        }
    }
}

} // namespace

bool run_grid(Index grid, Index block, size_t shared_bytes, Schedule schedule, void (*call)(void *), void *argument,
              char *message, size_t message_bytes) {
    failed = false;
    reason = message;
    reason_bytes = message_bytes;
    const size_t n = (size_t)block.x * block.y * block.z;
    if (n % WARP != 0) {
        snprintf(message, message_bytes, "the emulator runs blocks of whole warps, not of %u x %u x %u", block.x,
                 block.y, block.z);
        return false;
    }
    if (n > n_stacks) {
        // Pages come when they are used.
        constexpr int FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *memory = mmap(nullptr, n * STACK, PROT_READ | PROT_WRITE, FLAGS, -1, 0);
        if (memory == MAP_FAILED) {
            snprintf(message, message_bytes, "no memory for the stacks of %zu threads", n);
            return false;
        }
        if (stacks) {
            munmap(stacks, n_stacks * STACK);
        }
        stacks = static_cast<char *>(memory);
        n_stacks = n;
    }
    threads.resize(n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t thread = (uint32_t)i;
        threads[i].index = {thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
    }
    dynamic_bytes = shared_bytes;
    dynamic.resize(shared_bytes + GUARD + 1024);
    grid_size = grid;
    block_size = block;
    how = schedule;
    entry = call;
    entry_argument = argument;
    for (uint32_t z = 0; z < grid.z; z++) {
        for (uint32_t y = 0; y < grid.y; y++) {
            for (uint32_t x = 0; x < grid.x && !failed; x++) {
                block_index = {x, y, z};
                run_block();
            }
        }
    }
    return !failed;
}

void meet_warp(Collective collective, const void *operands, void *results) {
    running->collective = collective;
    running->operands = operands;
    running->results = results;
    leave(State::AtWarp);
}

void meet_block() {
    leave(State::AtBlock);
}

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    give_reason(format, arguments);
    va_end(arguments);
    leave(State::Done);
    // A grid that failed is left where it stands.
    abort();
}

void *dynamic_shared() {
    return aligned_dynamic();
}

void check_shared(const void *from, size_t bytes) {
    const char *at = static_cast<const char *>(from), *start = aligned_dynamic();
    if (at < start || at + bytes > start + dynamic_bytes || reinterpret_cast<uintptr_t>(at) % bytes != 0) {
        fail("%zu bytes at %td of %zu bytes of dynamic shared memory", bytes, at - start, dynamic_bytes);
    }
}

void count_bank_conflicts(const void *const (&rows)[8]) {
    uint32_t taken = 0;
    for (const void *row : rows) {
        const uint32_t place = 1u << reinterpret_cast<uintptr_t>(row) / 16 % 8;
        conflicts += (taken & place) != 0;
        taken |= place;
    }
}

uint64_t bank_conflicts() {
    return conflicts;
}

static void complete(const Copy &copy) {
    if (copy.from) {
        memcpy(copy.to, copy.from, 16);
    } else {
        memset(copy.to, 0, 16);
    }
}

void start_copy(void *to, const void *from) {
    if (how.early_copies) {
        complete({to, from});
    } else {
        running->copies.back().push_back({to, from});
    }
}

void end_copy_group() {
    running->copies.emplace_back();
}

void wait_for_copies(size_t under_way) {
    auto &groups = running->copies;
    while (groups.size() > under_way + 1) {
        for (const Copy &copy : groups.front()) {
            complete(copy);
        }
        groups.erase(groups.begin());
    }
}

} // namespace emulator
