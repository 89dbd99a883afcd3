// Memory of the device, page-locked memory, and copies.

#include "device.h"

#include <stdlib.h>
#include <string.h>
#include <vector>

using emulator::Call;
using emulator::Device;

API CUresult cuMemAlloc_v2(CUdeviceptr *to, size_t bytes) {
    Call call;
    const CUresult ready = call.ready();
    return ready ? ready : call.allocate(to, bytes);
}

API CUresult cuMemAllocAsync(CUdeviceptr *to, size_t bytes, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    return call.stream(stream) ? call.allocate(to, bytes) : CUDA_ERROR_INVALID_HANDLE;
}

API CUresult cuMemFree_v2(CUdeviceptr address) {
    Call call;
    const CUresult ready = call.ready();
    if (ready || address == 0) {
        return ready;
    }
    // It waits for the whole device.
    if (!call.finish_all()) {
        call.wait_forever();
    }
    return emulator::release(*call.operator->(), address);
}

API CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (!call.begins(address)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return call.submit(stream, [address](Device &device) { emulator::release(device, address); });
}

API CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    Call call;
    *total = call->faults.memory;
    *free_bytes = call->faults.memory - call->used;
    return call.ready();
}

API CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
    static char only;
    *pool = reinterpret_cast<CUmemoryPool>(&only);
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

API CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device) {
    return cuDeviceGetDefaultMemPool(pool, device);
}

constexpr int RELEASE_THRESHOLD = 4;

API CUresult cuMemPoolSetAttribute(CUmemoryPool, int attribute, void *value) {
    Call call;
    if (attribute == RELEASE_THRESHOLD) {
        call->release_threshold = *static_cast<uint64_t *>(value);
    }
    return call.ready();
}

API CUresult cuMemPoolGetAttribute(CUmemoryPool, int attribute, void *value) {
    Call call;
    auto *to = static_cast<uint64_t *>(value);
    switch (attribute) {
    case RELEASE_THRESHOLD:
        *to = call->release_threshold;
        break;
    case 5: // CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT
    case 7: // CU_MEMPOOL_ATTR_USED_MEM_CURRENT
        *to = call->used;
        break;
    case 6: // CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH
    case 8: // CU_MEMPOOL_ATTR_USED_MEM_HIGH
        *to = call->most_used;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return call.ready();
}

// Nothing is kept that could be given back.
API CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) {
    return Call().ready();
}

API CUresult cuMemHostAlloc(void **to, size_t bytes, unsigned) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *to = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*to) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    call->pinned.emplace(reinterpret_cast<uintptr_t>(*to), bytes);
    return CUDA_SUCCESS;
}

API CUresult cuMemFreeHost(void *address) {
    Call call;
    // Copies may be on their way.
    call.finish_all();
    if (call->pinned.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    free(address);
    return call.ready();
}

// Whether it is page-locked: others' memory is read before a copy returns, and written before it does.
static bool is_pinned(const Call &call, const void *address) {
    const auto at = reinterpret_cast<uintptr_t>(address);
    const auto next = call->pinned.upper_bound(at);
    return next != call->pinned.begin() && at - std::prev(next)->first < std::prev(next)->second;
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready || !call.holds(to, bytes)) {
        return ready ? ready : CUDA_ERROR_INVALID_VALUE;
    }
    void *const target = reinterpret_cast<void *>(to);
    if (is_pinned(call, from)) {
        return call.submit(stream, [=](Device &) { memcpy(target, from, bytes); });
    }
    const auto *first = static_cast<const char *>(from);
    const std::vector<char> staged(first, first + bytes);
    return call.submit(stream, [=](Device &) { memcpy(target, staged.data(), bytes); });
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream handle) {
    Call call;
    const CUresult ready = call.ready();
    if (ready || !call.holds(from, bytes)) {
        return ready ? ready : CUDA_ERROR_INVALID_VALUE;
    }
    const void *const source = reinterpret_cast<const void *>(from);
    const CUresult submitted = call.submit(handle, [=](Device &) { memcpy(to, source, bytes); });
    if (submitted || is_pinned(call, to)) {
        return submitted;
    }
    if (!call.finish(*call.stream(handle))) {
        call.wait_forever();
    }
    return call.ready();
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready || !call.holds(to, bytes) || !call.holds(from, bytes)) {
        return ready ? ready : CUDA_ERROR_INVALID_VALUE;
    }
    void *const target = reinterpret_cast<void *>(to);
    const void *const source = reinterpret_cast<const void *>(from);
    return call.submit(stream, [=](Device &) { memmove(target, source, bytes); });
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready || !call.holds(to, bytes)) {
        return ready ? ready : CUDA_ERROR_INVALID_VALUE;
    }
    void *const target = reinterpret_cast<void *>(to);
    return call.submit(stream, [=](Device &) { memset(target, value, bytes); });
}

// The others wait: for the default stream, and for all that it waits for.
static CUresult finished(CUresult submitted) {
    Call call;
    if (!submitted) {
        call.finish_all();
        if (!call.stream(nullptr)->work.empty()) {
            call.wait_forever();
        }
    }
    return submitted ? submitted : call.ready();
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return finished(cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr));
}

API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    // Not only the default stream's work has to be there.
    const CUresult before = finished(CUDA_SUCCESS);
    return before ? before : finished(cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr));
}

API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return finished(cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr));
}

API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes) {
    return finished(cuMemsetD8Async(to, value, bytes, nullptr));
}
