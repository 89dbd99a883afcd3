// cuBLASLt and NVRTC are linked by candle, and not called by Livedex: they are there, and say their versions.

#include "cuda.h"

API size_t cublasLtGetVersion() {
    return 130000;
}

API int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return 0;
}
