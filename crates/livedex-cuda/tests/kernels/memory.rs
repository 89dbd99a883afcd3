//! Device memory as the tests see it: numbers with NaN around them.

use std::fmt::Debug;

use half::bf16;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};

/// Elements before and behind, a multiple of what is aligned.
const GUARD: usize = 64;

/// An element that can be NaN.
pub(crate) trait Number: Copy + Debug {
    const NAN: Self;
    fn is_poison(self) -> bool;
    fn value(self) -> f64;
}

impl Number for bf16 {
    // Not the NaN that a computation gives.
    const NAN: Self = bf16::from_bits(0xffff);
    fn is_poison(self) -> bool {
        self.to_bits() == 0xffff
    }
    fn value(self) -> f64 {
        self.to_f64()
    }
}

impl Number for f32 {
    const NAN: Self = f32::from_bits(0xffff_ffff);
    fn is_poison(self) -> bool {
        self.to_bits() == 0xffff_ffff
    }
    fn value(self) -> f64 {
        self.into()
    }
}

/// Random numbers, the same each time.
pub(crate) fn random(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// A number as activations have them: -2..2, a few much larger.
pub(crate) fn activation(random: &mut impl Rng) -> bf16 {
    let x = random.random_range(-2.0..2.0f32);
    bf16::from_f32(if random.random_ratio(1, 50) { x * 8.0 } else { x })
}

/// A row-major matrix, `[rows, width]`, within a wider one.
#[derive(Clone)]
pub(crate) struct Matrix<T> {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// Elements from one row to the next.
    pub(crate) ld: usize,
    column: usize,
    all: Vec<T>,
}

impl<T: Number> Matrix<T> {
    /// NaN everywhere; `ld - width` columns are not part of it, `column` of them to the left.
    pub(crate) fn poisoned(rows: usize, width: usize, ld: usize, column: usize) -> Self {
        assert!(column + width <= ld);
        let all = vec![T::NAN; rows * ld + 2 * GUARD];
        Self { rows, width, ld, column, all }
    }

    pub(crate) fn filled(mut self, mut number: impl FnMut() -> T) -> Self {
        for row in 0..self.rows {
            self.row_mut(row).fill_with(&mut number);
        }
        self
    }

    fn at(&self, row: usize) -> usize {
        GUARD + row * self.ld + self.column
    }

    pub(crate) fn row(&self, row: usize) -> &[T] {
        &self.all[self.at(row)..][..self.width]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [T] {
        let at = self.at(row);
        &mut self.all[at..][..self.width]
    }

    pub(crate) fn values(&self, row: usize) -> Vec<f64> {
        self.row(row).iter().map(|x| x.value()).collect()
    }

    /// Where it begins, aligned to 16 bytes as kernels want it.
    pub(crate) fn pointer(&self) -> *const T {
        let pointer = self.all[GUARD + self.column..].as_ptr();
        assert!(pointer.addr().is_multiple_of(16), "column {}", self.column);
        pointer
    }

    pub(crate) fn pointer_mut(&mut self) -> *mut T {
        self.pointer();
        self.all[GUARD + self.column..].as_mut_ptr()
    }

    /// Fails if anything but its own elements has been written.
    #[track_caller]
    pub(crate) fn assert_neighbours_untouched(&self) {
        for (i, x) in self.all.iter().enumerate() {
            let inside = i
                .checked_sub(GUARD + self.column)
                .is_some_and(|at| at / self.ld < self.rows && at % self.ld < self.width);
            assert!(inside || x.is_poison(), "element {i} is {x:?}, outside of the matrix");
        }
    }

    /// Compares with what should be there; `most` says how far each number may be off.
    pub(crate) fn compare(
        &self,
        row: usize,
        expected: &[f64],
        most: impl Fn(usize, f64) -> f64,
    ) -> Result<(), String> {
        assert_eq!(self.width, expected.len());
        for (i, (x, y)) in self.row(row).iter().zip(expected).enumerate() {
            let (x, most) = (x.value(), most(i, *y));
            let near = (x - y).abs() <= most;
            // NaN is not near anything.
            if !near {
                return Err(format!(
                    "row {row}, column {i}: {x} instead of {y}, more than {most} off"
                ));
            }
        }
        Ok(())
    }

    /// As [`Self::compare`], for results that must be right.
    #[track_caller]
    pub(crate) fn assert_near(
        &self,
        row: usize,
        expected: &[f64],
        most: impl Fn(usize, f64) -> f64,
    ) {
        if let Err(wrong) = self.compare(row, expected, most) {
            panic!("{wrong}");
        }
    }
}

/// A vector is a matrix of one row.
pub(crate) fn vector(width: usize, number: impl FnMut() -> bf16) -> Matrix<bf16> {
    Matrix::poisoned(1, width, width, 0).filled(number)
}

/// What rounding to bf16 may change: half a unit in the last place. A little more, since the f32
/// that is rounded has an error of its own.
pub(crate) fn one_rounding(x: f64) -> f64 {
    x.abs() * 2f64.powi(-8) * 1.01 + 1e-6
}

/// bf16's nearest number.
pub(crate) fn rounded(x: f64) -> f64 {
    bf16::from_f64(x).to_f64()
}
