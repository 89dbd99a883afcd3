//! Functions of one f32, without branches or tables, so that the compiler can vectorise loops
//! over them. Bounds of the errors are tested against the standard library's.

/// `e^x` for `x <= 88`, within 2 units in the last place; 0 below -87.3.
///
/// Cephes' `expf`: `x = n ln 2 + r`, a polynomial for `e^r`, `n` put into the exponent.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to a whole number.
    const MAGIC: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-LN2_HIGH, clamped);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = 1.987_569_1e-4_f32;
    for c in [1.398_2e-3_f32, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, c);
    }
    let e = p.mul_add(r * r, r) + 1.0;
    let power =
        f32::from_bits(shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23);
    if x < -87.3 { 0.0 } else { e * power }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh, within 3e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    // Near zero the quotient cancels; its absolute error stays small, which is what counts here.
    let e = exp((-2.0 * x.abs()).max(-80.0));
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// The error function, within 5e-7: Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let mut p = 1.061_405_4_f32;
    for c in [-1.453_152_f32, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p.mul_add(t, c);
    }
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

/// `x * Phi(x)`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The approximation of [`gelu`] that some models were trained with.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = SQRT_2_OVER_PI * (0.044_715 * x * x).mul_add(x, x);
    0.5 * x * (1.0 + tanh(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(range: std::ops::Range<i32>, step: f32, f: impl Fn(f32) -> f32) -> f32 {
        range.map(|i| f(i as f32 * step)).fold(0.0, f32::max)
    }

    #[test]
    fn functions_stay_within_their_bounds() {
        let relative =
            worst(-87_000..88_000, 1e-3, |x| (exp(x) / f64::from(x).exp() as f32 - 1.0).abs());
        assert!(relative < 2.4e-7, "exp: {relative}");
        assert_eq!(exp(-100.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        let absolute =
            worst(-20_000..20_000, 1e-3, |x| (tanh(x) - f64::from(x).tanh() as f32).abs());
        assert!(absolute < 3e-7, "tanh: {absolute}");
        // erf by its Taylor series, in f64.
        let series = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                let n = f64::from(n);
                term *= -x * x / n;
                sum += term / (2.0 * n + 1.0);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        };
        let absolute = worst(-3_500..3_500, 1e-3, |x| (erf(x) - series(f64::from(x)) as f32).abs());
        assert!(absolute < 5e-7, "erf: {absolute}");
        assert_eq!(erf(9.0), 1.0);
        assert_eq!(gelu(-30.0), 0.0);
    }
}
