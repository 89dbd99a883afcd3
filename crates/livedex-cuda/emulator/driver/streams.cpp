// Streams and events.

#include "device.h"

#include <chrono>

using emulator::Call;
using emulator::Stream;

struct CUevent_st {
    bool has_time;
    bool recorded = false;
    // It was recorded behind a kernel that never ends.
    bool hangs = false;
    std::chrono::steady_clock::time_point at{};
};

constexpr unsigned DISABLE_TIMING = 2;

API CUresult cuStreamCreate(CUstream *handle, unsigned) {
    Call call;
    const CUresult ready = call.ready();
    if (!ready) {
        // Only its address counts.
        *handle = reinterpret_cast<CUstream>(new char);
        call->streams.emplace(*handle, Stream{});
    }
    return ready;
}

API CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned flags, int) {
    return cuStreamCreate(handle, flags);
}

API CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    *least = *greatest = 0;
    return Call().ready();
}

API CUresult cuStreamDestroy_v2(CUstream handle) {
    Call call;
    if ((uintptr_t)handle <= 2 || call->streams.erase(handle) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    delete reinterpret_cast<char *>(handle);
    return call.ready();
}

API CUresult cuStreamSynchronize(CUstream handle) {
    Call call;
    const Stream *stream = call.stream(handle);
    if (!stream) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->hangs) {
        call.wait_forever();
    }
    return call.ready();
}

API CUresult cuStreamQuery(CUstream handle) {
    Call call;
    const CUresult ready = call.ready();
    const Stream *stream = call.stream(handle);
    if (ready || !stream) {
        return ready ? ready : CUDA_ERROR_INVALID_HANDLE;
    }
    return stream->hangs ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

API CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    Call call;
    Stream *stream = call.stream(handle);
    if (!stream || !event) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    stream->hangs |= event->hangs;
    return call.ready();
}

// Graphs are not emulated, so nothing is ever captured.
API CUresult cuStreamIsCapturing(CUstream, int *status) {
    *status = 0;
    return Call().ready();
}

API CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *argument) {
    {
        Call call;
        const CUresult ready = call.ready();
        const Stream *stream = call.stream(handle);
        if (ready || !stream) {
            return ready ? ready : CUDA_ERROR_INVALID_HANDLE;
        }
        if (stream->hangs) {
            return CUDA_SUCCESS;
        }
    }
    function(argument);
    return CUDA_SUCCESS;
}

API CUresult cuEventCreate(CUevent *event, unsigned flags) {
    const CUresult ready = Call().ready();
    if (!ready) {
        *event = new CUevent_st{(flags & DISABLE_TIMING) == 0};
    }
    return ready;
}

API CUresult cuEventDestroy_v2(CUevent event) {
    Call call;
    delete event;
    return call.ready();
}

API CUresult cuEventRecord(CUevent event, CUstream handle) {
    Call call;
    const Stream *stream = call.stream(handle);
    if (!stream || !event) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    event->recorded = true;
    event->hangs = stream->hangs;
    event->at = std::chrono::steady_clock::now();
    return call.ready();
}

API CUresult cuEventQuery(CUevent event) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    return event->hangs ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

API CUresult cuEventSynchronize(CUevent event) {
    Call call;
    if (event->hangs) {
        call.wait_forever();
    }
    return call.ready();
}

API CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end) {
    Call call;
    const CUresult ready = call.ready();
    if (ready) {
        return ready;
    }
    if (!start->has_time || !end->has_time || !start->recorded || !end->recorded) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (start->hangs || end->hangs) {
        return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return CUDA_SUCCESS;
}

API CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}
