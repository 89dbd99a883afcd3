// What the other libraries ask the driver for.

#pragma once

#include "cuda.h"

// Puts work into a stream. `run` gets `argument`, is called at most once, and must not call the driver; what `argument`
// leads to is then given back by `drop`, also if `run` is never called. Gives whether the device takes work.
API bool livedex_emulator_submit(CUstream stream, void (*run)(void *), void (*drop)(void *), void *argument);
// Whether the device works at all.
API bool livedex_emulator_ready();
// Whether its memory has all of these bytes.
API bool livedex_emulator_holds(const void *address, size_t bytes);
