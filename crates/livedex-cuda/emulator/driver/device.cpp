#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace emulator {

thread_local CUcontext current = nullptr;

namespace {

// On either side of an allocation. NaN in bf16 and f32, as is what has not been written yet.
constexpr size_t GUARD = 256;
constexpr int POISON = 0xff;

uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 10) : otherwise;
}

std::mutex mutex;

Device &device() {
    // Never destroyed: a program may end while one of its threads still frees its memory.
    static Device &device = *new Device{
        {
            setting("LIVEDEX_EMULATOR_MEMORY", (uint64_t)8 << 30),
            setting("LIVEDEX_EMULATOR_HANG", 0),
            setting("LIVEDEX_EMULATOR_FAIL", 0),
            (int)setting("LIVEDEX_EMULATOR_DRIVER", 13000),
            (int)setting("LIVEDEX_EMULATOR_DEVICES", 1),
            (unsigned)setting("LIVEDEX_EMULATOR_SCHEDULE", 0),
        },
        false, CUDA_SUCCESS, 0, 0, 0, {}, {},
        // The default stream, and the two that CUDA has numbers for: the legacy one, and each thread's.
        {{nullptr, {}}, {(CUstream)1, {}}, {(CUstream)2, {}}},
        0,
    };
    return device;
}

bool poisoned(uintptr_t from) {
    const auto *bytes = reinterpret_cast<const unsigned char *>(from);
    for (size_t i = 0; i < GUARD; i++) {
        if (bytes[i] != POISON) {
            return false;
        }
    }
    return true;
}

bool intact(uintptr_t address, size_t bytes) {
    if (poisoned(address - GUARD) && poisoned(address + bytes)) {
        return true;
    }
    fprintf(stderr, "CUDA emulator: something has written beside the %zu bytes at %#zx\n", bytes, (size_t)address);
    return false;
}

} // namespace

Call::Call() : lock(mutex) {}

Device *Call::operator->() const {
    return &device();
}

CUresult Call::ready() const {
    if (!device().initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (!current) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return device().broken;
}

Stream *Call::stream(CUstream handle) const {
    const auto found = device().streams.find(handle);
    return found == device().streams.end() ? nullptr : &found->second;
}

CUresult Call::submit(CUstream handle, Work work) const {
    const CUresult error = ready();
    if (error) {
        return error;
    }
    Stream *found = stream(handle);
    if (!found) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    found->work.push_back(std::move(work));
    const bool late = (device().faults.schedule & 4) != 0;
    if (!late) {
        finish(*found);
    }
    // What the work comes to is for later calls to say.
    return CUDA_SUCCESS;
}

bool Call::finish(Stream &stream) const {
    while (!stream.work.empty()) {
        if (device().broken) {
            // Nothing is done after a kernel has failed.
            stream.work.clear();
            break;
        }
        if (!stream.work.front()) {
            return false;
        }
        const Work work = std::move(stream.work.front());
        stream.work.pop_front();
        work(device());
    }
    return true;
}

bool Call::finish_all() const {
    bool all = true;
    for (auto &[handle, stream] : device().streams) {
        all = finish(stream) && all;
    }
    return all;
}

void Call::wait_forever() {
    lock.unlock();
    for (;;) {
        pause();
    }
}

bool Call::holds(uintptr_t address, size_t bytes) const {
    return emulator::holds(device(), address, bytes);
}

CUresult Call::allocate(CUdeviceptr *to, size_t bytes) const {
    if (!to || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    Device &device = emulator::device();
    if (bytes > device.faults.memory - device.used) {
        // Some may be about to be freed.
        finish_all();
    }
    if (bytes > device.faults.memory - device.used) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    const size_t all = (bytes + 2 * GUARD + GUARD - 1) / GUARD * GUARD;
    void *memory = aligned_alloc(GUARD, all);
    if (!memory) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memset(memory, POISON, all);
    const uintptr_t address = reinterpret_cast<uintptr_t>(memory) + GUARD;
    device.allocations.emplace(address, bytes);
    device.used += bytes;
    device.most_used = device.used > device.most_used ? device.used : device.most_used;
    *to = address;
    return CUDA_SUCCESS;
}

bool Call::begins(CUdeviceptr address) const {
    return device().allocations.count(address) == 1;
}

CUresult release(Device &device, CUdeviceptr address) {
    const auto found = device.allocations.find(address);
    if (found == device.allocations.end()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!intact(address, found->second)) {
        device.broken = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    device.used -= found->second;
    device.allocations.erase(found);
    free(reinterpret_cast<void *>(address - GUARD));
    return device.broken;
}

bool holds(const Device &device, uintptr_t address, size_t bytes) {
    const auto next = device.allocations.upper_bound(address);
    if (next == device.allocations.begin()) {
        return false;
    }
    const auto [start, size] = *std::prev(next);
    return address - start <= size && bytes <= size - (address - start);
}

bool intact(const Device &device) {
    bool all = true;
    for (const auto &[address, bytes] : device.allocations) {
        all = intact(address, bytes) && all;
    }
    return all;
}

} // namespace emulator
