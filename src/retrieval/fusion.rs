//! Reciprocal rank fusion: ranks are comparable where scores of different searches are not.

use std::collections::HashMap;
use std::hash::Hash;

/// The usual constant: how much the first ranks stand out (Cormack et al., 2009).
const K: f32 = 60.0;

/// Fuses ranked lists, best first; a score of 1 is "first in every list". Ties go to whoever came
/// first.
#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
pub fn fuse<T: Copy + Eq + Hash>(lists: &[Vec<T>]) -> Vec<(T, f32)> {
    let best = lists.len() as f32 / (K + 1.0);
    let mut order: Vec<T> = Vec::new();
    let mut scores: HashMap<T, f32> = HashMap::new();
    for list in lists {
        for (rank, item) in list.iter().enumerate() {
            let score = scores.entry(*item).or_insert_with(|| {
                order.push(*item);
                0.0
            });
            *score += 1.0 / (K + 1.0 + rank as f32) / best;
        }
    }
    let mut fused: Vec<(T, f32)> = order
        .into_iter()
        .map(|item| (item, scores.get(&item).copied().unwrap_or_default()))
        .collect();
    fused.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: keeps the order of ties
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_beats_a_single_first_place() {
        let fused = fuse(&[vec!['a', 'b', 'c'], vec!['b', 'd']]);
        assert_eq!(fused.iter().map(|f| f.0).collect::<String>(), "badc");
        assert!((fuse(&[vec![1], vec![1]])[0].1 - 1.0).abs() < 1e-6);
        assert!(fuse::<u8>(&[]).is_empty());
    }
}
