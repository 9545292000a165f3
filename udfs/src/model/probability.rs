//! From the network's output to a probability in millionths, the same on every machine.

/// One, in the unit of the scores: a probability is an integer from 0 to this.
pub const MILLIONTHS: i32 = 1_000_000;

/// Platt scaling: `sigmoid(scale · logit + offset)` is the probability at even odds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Factor of the logit.
    pub scale: f64,
    /// Added after it.
    pub offset: f64,
}

impl Calibration {
    /// Leaves logits as they are.
    pub const NONE: Self = Self {
        scale: 1.0,
        offset: 0.0,
    };

    /// The probability that belongs to a logit, in (0, 1).
    #[must_use]
    pub fn probability(&self, logit: f32) -> f64 {
        sigmoid(self.scale * f64::from(logit) + self.offset)
    }

    /// The probability in millionths, rounded half up.
    #[must_use]
    pub fn millionths(&self, logit: f32) -> i32 {
        (self.probability(logit) * f64::from(MILLIONTHS) + 0.5) as i32
    }
}

/// The logistic function `1 / (1 + e^-x)`.
///
/// Platforms' `exp` differ in the last bit; this one uses only additions, multiplications and one division in a
/// fixed order, which IEEE 754 defines exactly.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    // Beyond ±40 the result is 0 or 1 to far more digits than are kept.
    let x = x.clamp(-40.0, 40.0);
    1.0 / (1.0 + exp(-x))
}

/// e^x for |x| ≤ 40: x = k·ln 2 + r, |r| ≤ ½ ln 2, then Taylor's series of e^r to the 13th power (error under 1e-16).
fn exp(x: f64) -> f64 {
    // ln 2 in two parts (Cody and Waite): k times the first is exact.
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let k = (x * std::f64::consts::LOG2_E + 0.5).floor();
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut sum = 1.0;
    let mut n = 13.0;
    while n > 0.0 {
        sum = 1.0 + r * sum / n;
        n -= 1.0;
    }
    let power_of_two = f64::from_bits(((1023 + k as i64) as u64) << 52);
    sum * power_of_two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_the_logistic_function() {
        for step in -4000..=4000 {
            let x = f64::from(step) / 100.0;
            let expected = 1.0 / (1.0 + (-x).exp());
            assert!((sigmoid(x) - expected).abs() < 1e-15, "{x}");
        }
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(f64::INFINITY), sigmoid(40.0));
        assert!(sigmoid(f64::NEG_INFINITY) < 1e-17);
    }

    #[test]
    fn sigmoid_has_known_bits() {
        // A change of a single bit here changes every published score.
        // Computed by the same formula in CPython.
        for (x, bits) in [
            (-3.0, 0x3fa8_4834_3c90_5445),
            (-0.1, 0x3fde_66bd_b1ac_a090),
            (0.7, 0x3fe5_61cb_52a1_9476),
            (5.5, 0x3fef_dea8_4d73_d720_u64),
        ] {
            assert_eq!(sigmoid(x).to_bits(), bits, "{x}");
        }
    }

    #[test]
    fn millionths_round_and_stay_in_range() {
        assert_eq!(Calibration::NONE.millionths(0.0), 500_000);
        assert_eq!(Calibration::NONE.millionths(1e30), MILLIONTHS);
        assert_eq!(Calibration::NONE.millionths(-1e30), 0);
        let calibration = Calibration {
            scale: 2.0,
            offset: -1.0,
        };
        assert_eq!(calibration.millionths(0.5), 500_000);
    }
}
