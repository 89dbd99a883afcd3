// The driver, its device, and contexts.

#include "device.h"

#include <stdio.h>
#include <string.h>

using emulator::Call;
using emulator::current;

// There is one context: the device's primary one.
static CUcontext primary() {
    static char context;
    return reinterpret_cast<CUcontext>(&context);
}

API CUresult cuInit(unsigned flags) {
    Call call;
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (call->faults.devices == 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    call->initialised = true;
    return CUDA_SUCCESS;
}

API CUresult cuDriverGetVersion(int *version) {
    *version = Call()->faults.driver_version;
    return CUDA_SUCCESS;
}

struct Named {
    CUresult result;
    const char *name, *text;
};

static const Named RESULTS[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

static CUresult look_up(CUresult result, const char **to, const char *Named::*which) {
    for (const Named &named : RESULTS) {
        if (named.result == result) {
            *to = named.*which;
            return CUDA_SUCCESS;
        }
    }
    *to = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorName(CUresult result, const char **name) {
    return look_up(result, name, &Named::name);
}

API CUresult cuGetErrorString(CUresult result, const char **text) {
    return look_up(result, text, &Named::text);
}

// A device is known by its number alone; it needs no context.
static CUresult known(CUdevice device) {
    Call call;
    if (!call->initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

API CUresult cuDeviceGetCount(int *count) {
    *count = 1;
    return known(0);
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = ordinal;
    return known(ordinal);
}

API CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
    snprintf(name, bytes, "CPU emulator");
    return known(device);
}

API CUresult cuDeviceGetUuid_v2(char (*uuid)[16], CUdevice device) {
    memcpy(*uuid, "livedex-emulator", 16);
    return known(device);
}

API CUresult cuDeviceGetUuid(char (*uuid)[16], CUdevice device) {
    return cuDeviceGetUuid_v2(uuid, device);
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    *bytes = Call()->faults.memory;
    return known(device);
}

API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    switch (attribute) {
    case 1: // CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK
    case 2: // ..._MAX_BLOCK_DIM_X
    case 3: // ..._MAX_BLOCK_DIM_Y
        *value = MOST_BLOCK_THREADS;
        break;
    case 4: // ..._MAX_BLOCK_DIM_Z
        *value = 64;
        break;
    case 5: // ..._MAX_GRID_DIM_X
        *value = MOST_GRID_X;
        break;
    case 6: // ..._MAX_GRID_DIM_Y
    case 7: // ..._MAX_GRID_DIM_Z
        *value = MOST_GRID_YZ;
        break;
    case 8: // ..._MAX_SHARED_MEMORY_PER_BLOCK
        *value = SHARED_BYTES;
        break;
    case 10: // ..._WARP_SIZE
        *value = 32;
        break;
    case 12: // ..._MAX_REGISTERS_PER_BLOCK
    case 82: // ..._MAX_REGISTERS_PER_MULTIPROCESSOR
        *value = 65536;
        break;
    case 16: // ..._MULTIPROCESSOR_COUNT
        *value = 132;
        break;
    case 38: // ..._L2_CACHE_SIZE
        *value = 50 << 20;
        break;
    case 39: // ..._MAX_THREADS_PER_MULTIPROCESSOR
        *value = 2048;
        break;
    case 41:  // ..._UNIFIED_ADDRESSING
    case 115: // ..._MEMORY_POOLS_SUPPORTED
        *value = 1;
        break;
    case 75: // ..._COMPUTE_CAPABILITY_MAJOR
        *value = 9;
        break;
    case 76: // ..._COMPUTE_CAPABILITY_MINOR
        *value = 0;
        break;
    case 81: // ..._MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        *value = 228 * 1024;
        break;
    case 97: // ..._MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        *value = MOST_SHARED_BYTES;
        break;
    case 106: // ..._MAX_BLOCKS_PER_MULTIPROCESSOR
        *value = 32;
        break;
    default:
        fprintf(stderr, "CUDA emulator: no device attribute %d\n", attribute);
        return CUDA_ERROR_INVALID_VALUE;
    }
    return known(device);
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = primary();
    return known(device);
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    return known(device);
}

API CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = current;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetCurrent(CUcontext context) {
    if (context && context != primary()) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    current = context;
    return CUDA_SUCCESS;
}

API CUresult cuCtxGetDevice(CUdevice *device) {
    *device = 0;
    return Call().ready();
}

// How a thread waits is its own matter here.
API CUresult cuCtxSetFlags(unsigned) {
    return Call().ready();
}

API CUresult cuCtxSynchronize() {
    Call call;
    if (!call.finish_all()) {
        call.wait_forever();
    }
    return call.ready();
}
