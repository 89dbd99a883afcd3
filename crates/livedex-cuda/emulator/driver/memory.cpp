// Memory of the device, page-locked memory, and copies.

#include "device.h"

#include <stdlib.h>
#include <string.h>

using emulator::Call;
using emulator::Stream;

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
    for (const auto &[handle, stream] : call->streams) {
        if (stream.hangs) {
            call.wait_forever();
        }
    }
    return call.release(address);
}

API CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    const Stream *found = call.stream(stream);
    if (!found) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    // What waits behind a kernel that hangs is never free again.
    return found->hangs ? CUDA_SUCCESS : call.release(address);
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
    if (call->pinned.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    free(address);
    return call.ready();
}

// Whether a copy is to be done now; otherwise `result` says what the caller gets.
static bool begins(Call &call, CUstream handle, CUdeviceptr address, size_t bytes, CUresult &result) {
    result = call.ready();
    const Stream *stream = call.stream(handle);
    if (!result && !stream) {
        result = CUDA_ERROR_INVALID_HANDLE;
    }
    if (!result && !call.holds(address, bytes)) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    return !result && !stream->hangs;
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    Call call;
    CUresult result;
    if (begins(call, stream, to, bytes, result)) {
        memcpy(reinterpret_cast<void *>(to), from, bytes);
    }
    return result;
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    Call call;
    CUresult result;
    if (begins(call, stream, from, bytes, result)) {
        memcpy(to, reinterpret_cast<const void *>(from), bytes);
        return result;
    }
    if (!result) {
        // The stream hangs, and a copy into memory that is not page-locked returns only when it is done.
        const auto next = call->pinned.upper_bound(reinterpret_cast<uintptr_t>(to));
        const bool pinned = next != call->pinned.begin() &&
                            reinterpret_cast<uintptr_t>(to) - std::prev(next)->first < std::prev(next)->second;
        if (!pinned) {
            call.wait_forever();
        }
    }
    return result;
}

API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    return cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    Call call;
    CUresult result;
    if (begins(call, stream, to, bytes, result)) {
        if (!call.holds(from, bytes)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
    }
    return result;
}

API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr);
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
    Call call;
    CUresult result;
    if (begins(call, stream, to, bytes, result)) {
        memset(reinterpret_cast<void *>(to), value, bytes);
    }
    return result;
}

API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes) {
    return cuMemsetD8Async(to, value, bytes, nullptr);
}
