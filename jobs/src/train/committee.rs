//! Several networks as one.

use super::network::Network;
use super::optimise::Parameter;

/// One network whose logit is the mean of the logits of `members`: their filters stand side by side over the word
/// vectors that they share. None when there is no member.
pub(super) fn join(members: &[Network]) -> Option<Network> {
    let first = members.first()?;
    let share = 1.0 / members.len() as f32;
    // Filters are the innermost dimension of each of these.
    let side_by_side = |of: fn(&Network) -> &Parameter| -> Vec<f32> {
        let mut rows: Vec<_> = members
            .iter()
            .map(|member| of(member).values.chunks(member.filters.max(1)))
            .collect();
        let count = rows.first().map_or(0, ExactSizeIterator::len);
        let row = |_| {
            rows.iter_mut()
                .filter_map(Iterator::next)
                .flatten()
                .copied()
                .collect::<Vec<f32>>()
        };
        (0..count).flat_map(row).collect()
    };
    let mut output = side_by_side(|member| &member.output);
    output.iter_mut().for_each(|weight| *weight *= share);
    let output_biases = members.iter().flat_map(|member| &member.output_bias.values);
    Some(Network {
        embedding_size: first.embedding_size,
        filters: members.iter().map(|member| member.filters).sum(),
        embedding: first.embedding.clone(),
        filter: Parameter::new(side_by_side(|member| &member.filter)),
        filter_bias: Parameter::new(side_by_side(|member| &member.filter_bias)),
        output: Parameter::new(output),
        output_bias: Parameter::new(vec![output_biases.sum::<f32>() * share]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::network::tests::spec;
    use graph_recs_udfs::model::{Scorer as _, TableScorer};

    #[test]
    fn a_committee_says_the_mean() {
        let vectors: Vec<f32> = (0_i16..60)
            .map(|n| f32::from(n * 7 % 13) / 7.0 - 0.8)
            .collect();
        let members: Vec<Network> = (1..=3)
            .map(|seed| {
                let mut member = Network::new(vectors.clone(), 6, 16, seed);
                member.filter_bias.values.fill(0.1 * seed as f32);
                member.output_bias.values.fill(seed as f32);
                member
            })
            .collect();
        let documents: [&[u32]; 3] = [&[3, 1, 4, 1, 5, 9, 2, 6], &[5], &[8, 9, 7, 9, 3]];
        let logits = |network: &Network| {
            let spec = spec(10, 6, network.filters);
            let weights = network.weights(&spec).unwrap();
            TableScorer::exact(&spec, &weights)
                .logits(&documents)
                .unwrap()
        };
        let alone: Vec<Vec<f32>> = members.iter().map(logits).collect();
        for (index, joint) in logits(&join(&members).unwrap()).into_iter().enumerate() {
            let mean = alone.iter().map(|logits| logits[index]).sum::<f32>() / 3.0;
            assert!((joint - mean).abs() < 1e-5, "{joint} {mean}");
        }
        assert_ne!(alone[0], alone[1]);
        assert!(join(&[]).is_none());
    }
}
