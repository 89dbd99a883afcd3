// Streams and events.

#include "device.h"

#include <chrono>
#include <memory>

using emulator::Call;
using emulator::Device;
using emulator::Stream;

// What an event is recorded as; an event may be recorded again before that is done.
struct Record {
    bool done = false;
    std::chrono::steady_clock::time_point at{};
};

struct CUevent_st {
    bool has_time;
    CUstream stream = nullptr;
    // Null: never recorded.
    std::shared_ptr<Record> record{};

    // Does what stands before it; gives whether that ever ends.
    bool finish(const Call &call) const {
        Stream *found = call.stream(stream);
        if (found) {
            call.finish(*found);
        }
        return !record || record->done;
    }
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
    Stream *stream = call.stream(handle);
    if ((uintptr_t)handle <= 2 || !stream) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    // Its work is done nevertheless.
    call.finish(*stream);
    call->streams.erase(handle);
    delete reinterpret_cast<char *>(handle);
    return call.ready();
}

API CUresult cuStreamSynchronize(CUstream handle) {
    Call call;
    Stream *stream = call.stream(handle);
    if (!stream) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!call.finish(*stream)) {
        call.wait_forever();
    }
    return call.ready();
}

API CUresult cuStreamQuery(CUstream handle) {
    Call call;
    Stream *stream = call.stream(handle);
    if (!stream) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const bool finished = call.finish(*stream);
    const CUresult ready = call.ready();
    return ready || finished ? ready : CUDA_ERROR_NOT_READY;
}

API CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    Call call;
    if (!call.stream(handle) || !event) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return event->finish(call) ? call.ready() : call.submit(handle, nullptr);
}

// Graphs are not emulated, so nothing is ever captured.
API CUresult cuStreamIsCapturing(CUstream, int *status) {
    *status = 0;
    return Call().ready();
}

// A function must not call CUDA, and could not: the device is locked.
API CUresult cuLaunchHostFunc(CUstream handle, void (*function)(void *), void *argument) {
    return Call().submit(handle, [=](Device &) { function(argument); });
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
    if (!event) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    const auto record = std::make_shared<Record>();
    event->stream = handle;
    event->record = record;
    return call.submit(handle, [=](Device &) {
        record->done = true;
        record->at = std::chrono::steady_clock::now();
    });
}

API CUresult cuEventQuery(CUevent event) {
    Call call;
    const bool finished = event->finish(call);
    const CUresult ready = call.ready();
    return ready || finished ? ready : CUDA_ERROR_NOT_READY;
}

API CUresult cuEventSynchronize(CUevent event) {
    Call call;
    if (!event->finish(call) && !call.ready()) {
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
    if (!start->has_time || !end->has_time || !start->record || !end->record) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!start->finish(call) || !end->finish(call)) {
        return CUDA_ERROR_NOT_READY;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->record->at - start->record->at).count();
    return CUDA_SUCCESS;
}

API CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}
