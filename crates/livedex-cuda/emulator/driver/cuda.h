// What of CUDA's driver interface is emulated: types, results, numbers of attributes. Names and numbers are those of
// CUDA 13.0's cuda.h.

#pragma once

#include <stddef.h>
#include <stdint.h>

#define API extern "C" __attribute__((visibility("default")))

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUmemPool_st *CUmemoryPool;

enum CUresult : unsigned {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_FAILED = 719,
};

// Limits of a device of compute capability 9.0 (CUDA programming guide, "Compute Capabilities").
constexpr unsigned MOST_BLOCK_THREADS = 1024;
constexpr unsigned MOST_GRID_X = 0x7fffffff;
constexpr unsigned MOST_GRID_YZ = 65535;
constexpr unsigned SHARED_BYTES = 48 * 1024;
// For kernels that ask for it.
constexpr unsigned MOST_SHARED_BYTES = 227 * 1024;
