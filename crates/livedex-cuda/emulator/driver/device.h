// The one device: its memory, its streams, and the faults that a test asked for.
//
// Work is done on the thread of a caller: of the one who submits it, or, if the schedule says so, of the one who waits
// for it. The latter is what a device would do if it were slower than its host in every respect; it shows what host
// memory is read or written before somebody has waited.

#pragma once

#include "cuda.h"

#include <deque>
#include <functional>
#include <map>
#include <mutex>

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
    // LIVEDEX_EMULATOR_SCHEDULE: bits 0 and 1 as in entry.cpp; bit 2: work is done when somebody waits for it.
    unsigned schedule;
};

struct Device;

// Null: it never ends.
using Work = std::function<void(Device &)>;

struct Stream {
    // Submitted, and not done yet.
    std::deque<Work> work;
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
    // Puts work into a stream.
    CUresult submit(CUstream handle, Work work) const;
    // Does a stream's work, up to what never ends; gives whether there was nothing of that kind.
    bool finish(Stream &stream) const;
    bool finish_all() const;
    // Never returns, and lets others go on.
    [[noreturn]] void wait_forever();

    bool holds(uintptr_t address, size_t bytes) const;
    CUresult allocate(CUdeviceptr *to, size_t bytes) const;
    // Whether an allocation begins there.
    bool begins(CUdeviceptr address) const;

  private:
    std::unique_lock<std::mutex> lock;
};

// For work, which is done while the device is locked.
CUresult release(Device &device, CUdeviceptr address);
// Whether an allocation has all of these bytes.
bool holds(const Device &device, uintptr_t address, size_t bytes);
// Whether nobody has written beside an allocation; says which otherwise.
bool intact(const Device &device);

// The context of this thread.
extern thread_local CUcontext current;

} // namespace emulator
