#include "libraries.h"

#include "device.h"

using emulator::Call;

API Submitted livedex_emulator_submit(CUstream handle) {
    Call call;
    const emulator::Stream *stream = call.stream(handle);
    if (call.ready() || !stream) {
        return REFUSED;
    }
    return stream->hangs ? SKIP : RUN;
}

API bool livedex_emulator_holds(const void *address, size_t bytes) {
    return Call().holds(reinterpret_cast<uintptr_t>(address), bytes);
}
