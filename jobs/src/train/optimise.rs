//! AdamW (Loshchilov and Hutter 2019) over plain vectors.

/// Numbers that are learnt, with the moments of their gradients.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parameter {
    pub values: Vec<f32>,
    /// Moving mean of the gradients.
    pub first: Vec<f32>,
    /// Moving mean of their squares.
    pub second: Vec<f32>,
}

impl Parameter {
    pub fn new(values: Vec<f32>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self {
            values,
            first: zeros.clone(),
            second: zeros,
        }
    }
}

/// The rule of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamW {
    pub learning_rate: f32,
    /// Shrinks values by this much of the learning rate at each step.
    pub weight_decay: f32,
    /// Counted from 1.
    pub step: u32,
}

impl AdamW {
    const BETA_1: f32 = 0.9;
    const BETA_2: f32 = 0.999;
    const EPSILON: f32 = 1e-8;

    /// Moves all values against their gradients.
    pub fn update(&self, parameter: &mut Parameter, gradients: &[f32]) {
        let rows = std::iter::once(0);
        let size = parameter.values.len();
        self.update_rows(parameter, size, rows, gradients);
    }

    /// Moves only some rows of `size` values each; the others keep their moments too (lazy Adam), since a word that a
    /// batch lacks has told nothing. `gradients` holds the rows one after the other.
    pub fn update_rows(
        &self,
        parameter: &mut Parameter,
        size: usize,
        rows: impl Iterator<Item = usize>,
        gradients: &[f32],
    ) {
        let step = self.step.max(1) as i32;
        let first_scale = 1.0 / (1.0 - Self::BETA_1.powi(step));
        let second_scale = 1.0 / (1.0 - Self::BETA_2.powi(step));
        let keep = 1.0 - self.learning_rate * self.weight_decay;
        for (row, gradients) in rows.zip(gradients.chunks(size.max(1))) {
            let range = row * size..(row + 1) * size;
            let (Some(values), Some(first), Some(second)) = (
                parameter.values.get_mut(range.clone()),
                parameter.first.get_mut(range.clone()),
                parameter.second.get_mut(range),
            ) else {
                continue;
            };
            let moments = first.iter_mut().zip(second);
            for ((value, (first, second)), gradient) in
                values.iter_mut().zip(moments).zip(gradients)
            {
                *first = Self::BETA_1 * *first + (1.0 - Self::BETA_1) * gradient;
                *second = Self::BETA_2 * *second + (1.0 - Self::BETA_2) * gradient * gradient;
                let direction =
                    *first * first_scale / ((*second * second_scale).sqrt() + Self::EPSILON);
                *value = *value * keep - self.learning_rate * direction;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_that_of_the_paper() {
        let mut parameter = Parameter::new(vec![1.0, -2.0]);
        let rule = AdamW {
            learning_rate: 0.1,
            weight_decay: 0.5,
            step: 1,
        };
        rule.update(&mut parameter, &[4.0, -0.5]);
        // The first step has the size of the learning rate whatever the gradient; decay takes 5 % first.
        assert!((parameter.values[0] - (0.95 - 0.1)).abs() < 1e-6);
        assert!((parameter.values[1] - (-1.9 + 0.1)).abs() < 1e-6);
        AdamW { step: 2, ..rule }.update(&mut parameter, &[0.0, 0.0]);
        let direction =
            0.36_f32 / (1.0 - 0.81) / (0.999 * 0.016_f32 / (1.0 - 0.999 * 0.999)).sqrt();
        assert!((parameter.values[0] - (0.85 * 0.95 - 0.1 * direction)).abs() < 1e-4);
    }

    #[test]
    fn a_minimum_is_found() {
        let mut parameter = Parameter::new(vec![5.0, -3.0]);
        for step in 1..=2000 {
            let gradients = [
                parameter.values[0] - 1.0,
                10.0 * (parameter.values[1] - 2.0),
            ];
            AdamW {
                learning_rate: 0.02,
                weight_decay: 0.0,
                step,
            }
            .update(&mut parameter, &gradients);
        }
        assert!(
            (parameter.values[0] - 1.0).abs() < 1e-2 && (parameter.values[1] - 2.0).abs() < 1e-2
        );
    }

    #[test]
    fn rows_that_are_not_there_stay() {
        let mut parameter = Parameter::new(vec![1.0; 6]);
        let rule = AdamW {
            learning_rate: 0.1,
            weight_decay: 0.0,
            step: 1,
        };
        rule.update_rows(
            &mut parameter,
            2,
            [2, 0].into_iter(),
            &[1.0, -1.0, 1.0, 0.0],
        );
        let expected = [0.9, 1.0, 1.0, 1.0, 0.9, 1.1];
        assert!(
            parameter
                .values
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() < 1e-6)
        );
        assert_eq!(parameter.first[2..4], [0.0; 2]);
    }
}
