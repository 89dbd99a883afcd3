// What the other libraries ask the driver for.

#pragma once

#include "cuda.h"

enum Submitted : int { RUN, SKIP, REFUSED };

// Whether work on a stream is to be done, is behind a kernel that never ends, or cannot be.
API Submitted livedex_emulator_submit(CUstream stream);
// Whether the device's memory has all of these bytes.
API bool livedex_emulator_holds(const void *address, size_t bytes);
