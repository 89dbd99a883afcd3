//! cuBLAS, on the driver that it is linked to. In a process of its own: there must be no second
//! copy of that driver.

#![allow(unsafe_code, reason = "C is called; each block says why it is sound")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests may panic, and say that they are skipped"
)]

#[path = "../support/compiler.rs"]
mod compiler;
#[path = "../support/libraries.rs"]
mod libraries;

use std::ffi::{c_int, c_longlong, c_uint};

use half::bf16;
use libloading::Library;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A handle of a library, or an address of the device.
type Handle = u64;

type Gemm = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_int,
    c_int,
    c_int,
    *const f32,
    Handle,
    c_uint,
    c_int,
    c_longlong,
    Handle,
    c_uint,
    c_int,
    c_longlong,
    *const f32,
    Handle,
    c_uint,
    c_int,
    c_longlong,
    c_int,
    c_uint,
    c_int,
) -> c_uint;

const BF16: c_uint = 14;
const F32: c_uint = 0;
const COMPUTE_32F: c_uint = 68;

/// cuBLAS, and the driver beside it.
struct Libraries {
    cuda: Library,
    cublas: Library,
}

impl Libraries {
    fn open() -> Option<Self> {
        let folder = libraries::libraries()?;
        // SAFETY: they have just been built from our sources; loading them does nothing.
        let open = |name| unsafe { Library::new(folder.join(name)) }.unwrap();
        Some(Self { cuda: open("libcuda.so.1"), cublas: open("libcublas.so.13") })
    }

    /// A call whose arguments are pointers and sizes.
    fn call(&self, name: &str, arguments: [u64; 3]) {
        type Call = unsafe extern "C" fn(u64, u64, u64) -> c_uint;
        // SAFETY: the callers give what the function takes; more arguments are not looked at.
        let status = unsafe {
            let function = self.cuda.get::<Call>(name.as_bytes()).unwrap();
            function(arguments[0], arguments[1], arguments[2])
        };
        assert_eq!(status, 0, "{name}");
    }

    fn upload<T>(&self, numbers: &[T]) -> Handle {
        let mut address: Handle = 0;
        let bytes = size_of_val(numbers) as u64;
        self.call("cuMemAlloc_v2", [(&raw mut address).addr() as u64, bytes, 0]);
        self.call("cuMemcpyHtoD_v2", [address, numbers.as_ptr().addr() as u64, bytes]);
        address
    }

    fn download<T: Clone>(&self, address: Handle, like: &[T]) -> Vec<T> {
        let mut numbers = like.to_vec();
        let bytes = size_of_val(like) as u64;
        self.call("cuMemcpyDtoH_v2", [numbers.as_mut_ptr().addr() as u64, address, bytes]);
        numbers
    }
}

#[test]
fn products_are_right_in_every_layout() {
    let Some(libraries) = Libraries::open() else { return };
    let mut context: Handle = 0;
    libraries.call("cuInit", [0; 3]);
    libraries.call("cuDevicePrimaryCtxRetain", [(&raw mut context).addr() as u64, 0, 0]);
    libraries.call("cuCtxSetCurrent", [context, 0, 0]);
    let mut handle: Handle = 0;
    // SAFETY: the types are those of cuBLAS; it writes the handle.
    let gemm = unsafe {
        let create = libraries
            .cublas
            .get::<unsafe extern "C" fn(*mut Handle) -> c_uint>(b"cublasCreate_v2")
            .unwrap();
        assert_eq!(create(&raw mut handle), 0);
        libraries.cublas.get::<Gemm>(b"cublasGemmStridedBatchedEx").unwrap()
    };

    let mut random = SmallRng::seed_from_u64(61);
    let (alpha, batch) = (0.5f32, 2);
    for ([m, n, k], beta) in [([37, 5, 53], 2.0f32), ([1, 64, 8], 0.0), ([16, 1, 384], 0.0)] {
        for (a_across, b_across) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            // Columns that are longer than they have to be.
            let (a_rows, a_columns) = if a_across == 1 { (k, m) } else { (m, k) };
            let (b_rows, b_columns) = if b_across == 1 { (n, k) } else { (k, n) };
            let (lda, ldb, ldc) = (a_rows + 3, b_rows, m + 1);
            let mut number = || bf16::from_f32(random.random_range(-2.0..2.0f32));
            let a: Vec<bf16> = (0..batch * lda * a_columns).map(|_| number()).collect();
            let b: Vec<bf16> = (0..batch * ldb * b_columns).map(|_| number()).collect();
            let c: Vec<bf16> = (0..batch * ldc * n).map(|_| number()).collect();
            let single: Vec<f32> = c.iter().map(|x| x.to_f32()).collect();
            let (on_a, on_b) = (libraries.upload(&a), libraries.upload(&b));
            let (on_c, on_single) = (libraries.upload(&c), libraries.upload(&single));
            for (to, kind) in [(on_c, BF16), (on_single, F32)] {
                // SAFETY: the factors live until it returns; matrices are on the device, which
                // the library checks.
                let status = unsafe {
                    gemm(
                        handle,
                        a_across,
                        b_across,
                        m as c_int,
                        n as c_int,
                        k as c_int,
                        &raw const alpha,
                        on_a,
                        BF16,
                        lda as c_int,
                        (lda * a_columns) as c_longlong,
                        on_b,
                        BF16,
                        ldb as c_int,
                        (ldb * b_columns) as c_longlong,
                        &raw const beta,
                        to,
                        kind,
                        ldc as c_int,
                        (ldc * n) as c_longlong,
                        batch as c_int,
                        COMPUTE_32F,
                        99,
                    )
                };
                assert_eq!(status, 0);
            }
            let result = libraries.download(on_c, &c);
            let exact = libraries.download(on_single, &single);
            for i in 0..batch * ldc * n {
                let (entry, row, column) = (i / (ldc * n), i % ldc, i / ldc % n);
                if row == m {
                    // Between two columns.
                    assert_eq!((result[i], exact[i]), (c[i], single[i]));
                    continue;
                }
                let sum: f64 = (0..k)
                    .map(|p| {
                        let at = if a_across == 1 { row * lda + p } else { p * lda + row };
                        let x = a[entry * lda * a_columns + at].to_f64();
                        let at = if b_across == 1 { p * ldb + column } else { column * ldb + p };
                        x * b[entry * ldb * b_columns + at].to_f64()
                    })
                    .sum();
                let expected = f64::from(alpha) * sum + f64::from(beta) * c[i].to_f64();
                // Up to 384 products of at most 4, in f32.
                assert!((f64::from(exact[i]) - expected).abs() < 1e-4, "{i}");
                // Half a unit in the last of bf16's 8 bits.
                let most = expected.abs() * 2f64.powi(-8) + 1e-4;
                assert!((result[i].to_f64() - expected).abs() < most, "{i}");
            }
        }
    }
}
