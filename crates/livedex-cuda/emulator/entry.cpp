// How the tests of the kernels call them, without a driver in between.

#include "block.h"
#include "kernels.h"

#include <stdio.h>

#define API extern "C" __attribute__((visibility("default")))

namespace {

struct Call {
    const emulator::Kernel *kernel;
    void **arguments;
};

} // namespace

API uint64_t livedex_emulator_bank_conflicts() {
    return emulator::bank_conflicts();
}

// Runs a kernel. `schedule`: bit 0, the last warp goes first; bit 1, copies are there early. The message is empty
// unless the result is false.
API bool livedex_emulator_launch(const char *name, const unsigned *grid, unsigned threads, size_t shared_bytes,
                                 void **arguments, unsigned schedule, char *message, size_t message_bytes) {
    message[0] = 0;
    Call call = {emulator::find_kernel(name), arguments};
    if (!call.kernel || threads > call.kernel->most_threads) {
        snprintf(message, message_bytes, "no kernel %s for %u threads", name, threads);
        return false;
    }
    const emulator::Schedule how = {(schedule & 1) != 0, (schedule & 2) != 0};
    const auto one_thread = [](void *argument) {
        const Call *call = static_cast<const Call *>(argument);
        call->kernel->call(call->arguments);
    };
    return emulator::run_grid({grid[0], grid[1], grid[2]}, {threads, 1, 1}, shared_bytes, how, one_thread, &call,
                              message, message_bytes);
}
