// The one device: its memory, its streams, and the faults that a test asked for.
//
// Work is done when it is submitted, on the caller's thread; so a stream is empty whenever it is asked, unless it
// hangs.

#pragma once

#include "cuda.h"

#include <map>
#include <mutex>
#include <set>

namespace emulator {

// From the environment, once.
struct Faults {
    // LIVEDEX_EMULATOR_MEMORY: bytes that can be allocated.
    size_t memory;
    // LIVEDEX_EMULATOR_HANG: the launch that never ends, counted from 1; 0: none.
    uint64_t hang;
    // LIVEDEX_EMULATOR_FAIL: the launch that fails; what comes after it hears of it.
    uint64_t fail;
    // LIVEDEX_EMULATOR_DRIVER: as cuDriverGetVersion gives it. Before 13.0 modules are too new.
    int driver_version;
    // LIVEDEX_EMULATOR_DEVICES: 0, or 1.
    int devices;
    // LIVEDEX_EMULATOR_SCHEDULE: 0 to 3, as in entry.cpp.
    unsigned schedule;
};

struct Stream {
    // Nothing that is submitted is done any more.
    bool hangs = false;
};

struct Device {
    Faults faults;
    bool initialised = false;
    // The error of a kernel, which every later call gives.
    CUresult broken = CUDA_SUCCESS;
    uint64_t launches = 0;
    size_t used = 0, most_used = 0;
    // Address and size.
    std::map<uintptr_t, size_t> allocations;
    std::map<uintptr_t, size_t> pinned;
    std::map<CUstream, Stream> streams;
    uint64_t release_threshold = 0;
};

// Locks the device for as long as it lives.
class Call {
  public:
    Call();
    Device *operator->() const;

    // What each call begins with: initialised, a context on this thread, and no kernel has failed.
    CUresult ready() const;
    // Null: there is none of this handle.
    Stream *stream(CUstream handle) const;
    // Never returns, and lets others go on.
    [[noreturn]] void wait_forever();

    // Whether an allocation has all of these bytes.
    bool holds(uintptr_t address, size_t bytes) const;
    CUresult allocate(CUdeviceptr *to, size_t bytes) const;
    CUresult release(CUdeviceptr address) const;
    // Whether nobody has written beside an allocation; says which otherwise.
    bool intact() const;

  private:
    std::unique_lock<std::mutex> lock;
};

// The context of this thread.
extern thread_local CUcontext current;

} // namespace emulator
