// Modules, functions, launches.

#include "../block.h"
#include "../kernels.h"
#include "device.h"

#include <array>
#include <map>
#include <stdio.h>
#include <string.h>
#include <string>

using emulator::Call;
using emulator::Device;
using emulator::Kernel;

struct CUfunc_st {
    const Kernel *kernel;
    unsigned most_shared_bytes = SHARED_BYTES;
};

// Whatever is loaded, a module has the kernels that were compiled for the emulator.
struct CUmod_st {
    std::map<std::string, CUfunc_st> functions;
};

// The toolkit that makes the modules; an older driver does not know its PTX.
constexpr int OLDEST_DRIVER = 13000;

API CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (!image) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (call->faults.driver_version < OLDEST_DRIVER) {
        return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
    }
    *module = new CUmod_st;
    return CUDA_SUCCESS;
}

API CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, int *, void **) {
    return cuModuleLoadData(module, image);
}

API CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image) {
    return cuModuleLoadData(module, image);
}

API CUresult cuModuleUnload(CUmodule module) {
    Call call;
    delete module;
    return call.ready();
}

API CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    const Kernel *kernel = emulator::find_kernel(name);
    if (!kernel) {
        fprintf(stderr, "CUDA emulator: no kernel %s\n", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    *function = &module->functions.emplace(name, CUfunc_st{kernel}).first->second;
    return CUDA_SUCCESS;
}

constexpr int MAX_THREADS_PER_BLOCK = 0, MAX_DYNAMIC_SHARED_SIZE_BYTES = 8, PREFERRED_SHARED_MEMORY_CARVEOUT = 9;

API CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (attribute == PREFERRED_SHARED_MEMORY_CARVEOUT) {
        return CUDA_SUCCESS;
    }
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 || (unsigned)value > MOST_SHARED_BYTES) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    function->most_shared_bytes = value;
    return CUDA_SUCCESS;
}

API CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function) {
    Call call;
    switch (attribute) {
    case MAX_THREADS_PER_BLOCK:
        *value = function->kernel->most_threads;
        break;
    case MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = function->most_shared_bytes;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return call.ready();
}

API CUresult cuFuncSetCacheConfig(CUfunction, int) {
    return Call().ready();
}

struct Launch {
    const Kernel *kernel;
    emulator::Index grid, block;
    size_t shared_bytes;
    // Values, none of them longer.
    std::array<uint64_t, emulator::MOST_ARGUMENTS> values;
    std::array<void *, emulator::MOST_ARGUMENTS> arguments;
};

// Whether all pointers lead to memory of the device.
static bool has_its_memory(const Device &device, const Launch &launch) {
    for (size_t i = 0; i < launch.kernel->n_arguments; i++) {
        const uintptr_t address = launch.values[i];
        if (launch.kernel->arguments[i].is_pointer && address != 0 && !emulator::holds(device, address, 0)) {
            fprintf(stderr, "CUDA emulator: argument %zu of %s is %#zx, which is not allocated\n", i,
                    launch.kernel->name, (size_t)address);
            return false;
        }
    }
    return true;
}

static void run(Device &device, Launch launch) {
    if (!has_its_memory(device, launch)) {
        device.broken = CUDA_ERROR_ILLEGAL_ADDRESS;
        return;
    }
    for (size_t i = 0; i < emulator::MOST_ARGUMENTS; i++) {
        launch.arguments[i] = &launch.values[i];
    }
    const emulator::Schedule how = {(device.faults.schedule & 1) != 0, (device.faults.schedule & 2) != 0};
    const auto one_thread = [](void *argument) {
        auto *launch = static_cast<Launch *>(argument);
        launch->kernel->call(launch->arguments.data());
    };
    char message[512];
    if (!emulator::run_grid(launch.grid, launch.block, launch.shared_bytes, how, one_thread, &launch, message,
                            sizeof message)) {
        fprintf(stderr, "CUDA emulator: %s, %s\n", launch.kernel->name, message);
        device.broken = CUDA_ERROR_LAUNCH_FAILED;
    } else if (!emulator::intact(device)) {
        fprintf(stderr, "CUDA emulator: it was %s\n", launch.kernel->name);
        device.broken = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
}

API CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                            unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream handle,
                            void **arguments, void **extra) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (!function || !call.stream(handle)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const uint64_t threads = (uint64_t)block_x * block_y * block_z;
    if (extra || threads == 0 || threads > function->kernel->most_threads || block_z > 64 || grid_x == 0 ||
        grid_y == 0 || grid_z == 0 || grid_x > MOST_GRID_X || grid_y > MOST_GRID_YZ || grid_z > MOST_GRID_YZ ||
        shared_bytes > function->most_shared_bytes) {
        fprintf(stderr,
                "CUDA emulator: %s cannot be launched as %u x %u x %u blocks of %u x %u x %u threads and %u bytes\n",
                function->kernel->name, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes);
        return CUDA_ERROR_INVALID_VALUE;
    }
    call->launches++;
    if (call->launches == call->faults.hang) {
        return call.submit(handle, nullptr);
    }
    if (call->launches == call->faults.fail) {
        return call.submit(handle, [](Device &device) { device.broken = CUDA_ERROR_ILLEGAL_ADDRESS; });
    }
    // The values are the launch's from here on.
    Launch launch = {function->kernel, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, {}, {}};
    for (size_t i = 0; i < launch.kernel->n_arguments; i++) {
        memcpy(&launch.values[i], arguments[i], launch.kernel->arguments[i].bytes);
    }
    return call.submit(handle, [launch](Device &device) { run(device, launch); });
}
