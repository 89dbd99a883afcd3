// cuBLAS: matrix products in bf16 and f32, summed in f32. Names and numbers are those of CUDA 13.0's cublas_api.h.

#include "../cuda_bf16.h"
#include "libraries.h"
#include "product.h"

#include <memory>
#include <stdio.h>
#include <vector>

enum cublasStatus_t : unsigned {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
};

enum Type : unsigned { CUDA_R_32F = 0, CUDA_R_16BF = 14 };
enum Compute : unsigned {
    CUBLAS_COMPUTE_32F = 68,
    CUBLAS_COMPUTE_32F_FAST_16BF = 75,
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};

struct cublasContext {
    CUstream stream = nullptr;
    unsigned math_mode = 0;
};
typedef cublasContext *cublasHandle_t;

API cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
    *handle = nullptr;
    if (!livedex_emulator_ready()) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    delete handle;
    return livedex_emulator_ready() ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

API cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, CUstream stream) {
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, CUstream *stream) {
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}

// No workspace is needed, but it has to be memory of the device.
API cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void *workspace, size_t bytes) {
    return bytes == 0 || livedex_emulator_holds(workspace, bytes) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

API cublasStatus_t cublasSetMathMode(cublasHandle_t handle, unsigned mode) {
    handle->math_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasGetMathMode(cublasHandle_t handle, unsigned *mode) {
    *mode = handle->math_mode;
    return CUBLAS_STATUS_SUCCESS;
}

// Numbers that are factors come from the host.
API cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t, unsigned mode) {
    return mode == 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

API cublasStatus_t cublasGetPointerMode_v2(cublasHandle_t, unsigned *mode) {
    *mode = 0;
    return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int *version) {
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

namespace {

// One side of a product, column-major.
struct Operand {
    const void *from;
    Type type;
    // From one column to the next.
    int ld;
    bool transposed;
};

size_t size_of(Type type) {
    return type == CUDA_R_32F ? 4 : 2;
}

float number(const void *from, Type type, size_t at) {
    return type == CUDA_R_32F ? static_cast<const float *>(from)[at]
                              : __bfloat162float(static_cast<const __nv_bfloat16 *>(from)[at]);
}

// Whether the device has [rows, columns] numbers there.
bool is_there(const void *from, Type type, int ld, size_t rows, size_t columns) {
    return (size_t)ld >= rows && livedex_emulator_holds(from, (ld * (columns - 1) + rows) * size_of(type));
}

template <Type type>
void fill_rows(std::vector<float> &numbers, const Operand &x, size_t rows, size_t k, size_t padded, bool along) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < k; i++) {
            numbers[row * padded + i] = number(x.from, type, along ? row * x.ld + i : i * x.ld + row);
        }
    }
}

// The rows of an operand that is [rows, k], each filled up with zeros to `padded`. `along`: whether k goes along a
// column.
std::vector<float> rows_of(const Operand &x, size_t rows, size_t k, size_t padded, bool along) {
    std::vector<float> numbers(rows * padded);
    x.type == CUDA_R_32F ? fill_rows<CUDA_R_32F>(numbers, x, rows, k, padded, along)
                         : fill_rows<CUDA_R_16BF>(numbers, x, rows, k, padded, along);
    return numbers;
}

// to = scale left right + keep to.
struct Product {
    size_t m, n, k;
    Operand left, right;
    float scale, keep;
    void *to;
    Type type;
    size_t ld;
};

void multiply(const Product &x) {
    const size_t padded = (x.k + emulator::LANES - 1) / emulator::LANES * emulator::LANES;
    const auto rows = rows_of(x.left, x.m, x.k, padded, x.left.transposed);
    const auto columns = rows_of(x.right, x.n, x.k, padded, !x.right.transposed);
    std::vector<float> sums(x.m * x.n);
    emulator::products(sums.data(), rows.data(), x.m, columns.data(), x.n, padded);
    for (size_t column = 0; column < x.n; column++) {
        for (size_t row = 0; row < x.m; row++) {
            const size_t at = column * x.ld + row;
            // What is multiplied by 0 is not read: it may be NaN.
            const float before = x.keep == 0 ? 0 : x.keep * number(x.to, x.type, at);
            const float result = x.scale * sums[column * x.m + row] + before;
            if (x.type == CUDA_R_32F) {
                static_cast<float *>(x.to)[at] = result;
            } else {
                static_cast<__nv_bfloat16 *>(x.to)[at] = __float2bfloat16(result);
            }
        }
    }
}

bool is_type(unsigned type) {
    return type == CUDA_R_32F || type == CUDA_R_16BF;
}

} // namespace

API cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, unsigned transa, unsigned transb, int m, int n,
                                              int k, const void *alpha, const void *a, unsigned a_type, int lda,
                                              long long stride_a, const void *b, unsigned b_type, int ldb,
                                              long long stride_b, const void *beta, void *c, unsigned c_type, int ldc,
                                              long long stride_c, int batch, unsigned compute, int) {
    if (!handle) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    if (m < 0 || n < 0 || k < 0 || batch < 0 || transa > 1 || transb > 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!is_type(a_type) || a_type != b_type || !is_type(c_type) ||
        (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_16BF &&
         compute != CUBLAS_COMPUTE_32F_FAST_TF32)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (!livedex_emulator_ready()) {
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    if (m == 0 || n == 0 || batch == 0) {
        return CUBLAS_STATUS_SUCCESS;
    }
    const Type in = (Type)a_type, out = (Type)c_type;
    auto products = std::make_unique<std::vector<Product>>();
    for (int i = 0; i < batch; i++) {
        const Operand left = {static_cast<const char *>(a) + i * stride_a * size_of(in), in, lda, transa == 1};
        const Operand right = {static_cast<const char *>(b) + i * stride_b * size_of(in), in, ldb, transb == 1};
        char *to = static_cast<char *>(c) + i * stride_c * size_of(out);
        const bool operands =
            k == 0 || (is_there(left.from, in, lda, left.transposed ? k : m, left.transposed ? m : k) &&
                       is_there(right.from, in, ldb, right.transposed ? n : k, right.transposed ? k : n));
        if (!operands || !is_there(to, out, ldc, m, n)) {
            fprintf(stderr, "CUDA emulator: a product of %d x %d x %d has a matrix that is not allocated\n", m, k, n);
            return CUBLAS_STATUS_INVALID_VALUE;
        }
        products->push_back({(size_t)m, (size_t)n, (size_t)k, left, right, *static_cast<const float *>(alpha),
                             *static_cast<const float *>(beta), to, out, (size_t)ldc});
    }
    const auto run = [](void *argument) {
        for (const Product &product : *static_cast<std::vector<Product> *>(argument)) {
            multiply(product);
        }
    };
    const auto drop = [](void *argument) { delete static_cast<std::vector<Product> *>(argument); };
    return livedex_emulator_submit(handle->stream, run, drop, products.release()) ? CUBLAS_STATUS_SUCCESS
                                                                                  : CUBLAS_STATUS_EXECUTION_FAILED;
}

API cublasStatus_t cublasGemmEx(cublasHandle_t handle, unsigned transa, unsigned transb, int m, int n, int k,
                                const void *alpha, const void *a, unsigned a_type, int lda, const void *b,
                                unsigned b_type, int ldb, const void *beta, void *c, unsigned c_type, int ldc,
                                unsigned compute, int algorithm) {
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0,
                                      beta, c, c_type, ldc, 0, 1, compute, algorithm);
}

API cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, unsigned transa, unsigned transb, int m, int n,
                                             int k, const float *alpha, const float *a, int lda, long long stride_a,
                                             const float *b, int ldb, long long stride_b, const float *beta, float *c,
                                             int ldc, long long stride_c, int batch) {
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda, stride_a, b,
                                      CUDA_R_32F, ldb, stride_b, beta, c, CUDA_R_32F, ldc, stride_c, batch,
                                      CUBLAS_COMPUTE_32F, 0);
}

API cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, unsigned transa, unsigned transb, int m, int n, int k,
                                  const float *alpha, const float *a, int lda, const float *b, int ldb,
                                  const float *beta, float *c, int ldc) {
    return cublasSgemmStridedBatched(handle, transa, transb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
