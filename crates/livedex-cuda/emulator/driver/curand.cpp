// cuRAND, as far as candle makes a generator for each device. It draws nothing: what is asked for numbers is not there.

#include "libraries.h"

struct curandGenerator_st {
    CUstream stream = nullptr;
    unsigned long long seed = 0, offset = 0;
};
typedef curandGenerator_st *curandGenerator_t;

enum curandStatus_t : unsigned { CURAND_STATUS_SUCCESS = 0, CURAND_STATUS_INITIALIZATION_FAILED = 203 };

API curandStatus_t curandCreateGenerator(curandGenerator_t *generator, int) {
    if (!livedex_emulator_ready()) {
        return CURAND_STATUS_INITIALIZATION_FAILED;
    }
    *generator = new curandGenerator_st;
    return CURAND_STATUS_SUCCESS;
}

API curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
    delete generator;
    return livedex_emulator_ready() ? CURAND_STATUS_SUCCESS : CURAND_STATUS_INITIALIZATION_FAILED;
}

API curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t generator, unsigned long long seed) {
    generator->seed = seed;
    return CURAND_STATUS_SUCCESS;
}

API curandStatus_t curandSetGeneratorOffset(curandGenerator_t generator, unsigned long long offset) {
    generator->offset = offset;
    return CURAND_STATUS_SUCCESS;
}

API curandStatus_t curandSetStream(curandGenerator_t generator, CUstream stream) {
    generator->stream = stream;
    return CURAND_STATUS_SUCCESS;
}
