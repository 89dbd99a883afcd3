#include "libraries.h"

#include "device.h"

#include <memory>

using emulator::Call;

API bool livedex_emulator_submit(CUstream stream, void (*run)(void *), void (*drop)(void *), void *argument) {
    const std::shared_ptr<void> kept(argument, drop);
    return Call().submit(stream, [run, kept](emulator::Device &) { run(kept.get()); }) == CUDA_SUCCESS;
}

API bool livedex_emulator_ready() {
    return Call().ready() == CUDA_SUCCESS;
}

API bool livedex_emulator_holds(const void *address, size_t bytes) {
    return Call().holds(reinterpret_cast<uintptr_t>(address), bytes);
}
