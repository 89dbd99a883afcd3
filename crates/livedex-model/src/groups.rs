//! Which pairs of a batch have a prefix in common that is computed once.

use crate::backend::PairTokens;

/// Pairs that begin with the same ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// How many leading ids they have in common. Each pair has more.
    pub(crate) prefix: usize,
    /// Their indices, in order.
    pub(crate) members: Vec<usize>,
}

/// Groups pairs by what they share. A pair that shares less than a group does may still join
/// it: the group then shares as little, which is done where it leaves fewer tokens to compute.
/// Every pair is in one group; one that shares nothing is alone.
pub(crate) fn groups(pairs: &[&PairTokens]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        // The last token is what the score comes from: it is never shared.
        let own = pair.shared_prefix.min(pair.ids.len().saturating_sub(1));
        let joined = groups.iter_mut().find_map(|group| {
            let common = group.prefix.min(own);
            let lost = (group.prefix - common) * group.members.len();
            let first = &pairs[group.members[0]].ids;
            let fits = lost < group.prefix && first[..common] == pair.ids[..common];
            fits.then_some((group, common))
        });
        match joined {
            Some((group, common)) => {
                group.prefix = common;
                group.members.push(index);
            }
            None => groups.push(Group { prefix: own, members: vec![index] }),
        }
    }
    groups
}

/// Tokens that are computed for these pairs in one batch: each group's prefix counts once.
pub(crate) fn tokens(pairs: &[&PairTokens]) -> usize {
    let all: usize = pairs.iter().map(|pair| pair.ids.len()).sum();
    let saved = |group: &Group| group.prefix * (group.members.len() - 1);
    all - groups(pairs).iter().map(saved).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ids: &[u32], shared_prefix: usize) -> PairTokens {
        PairTokens { ids: ids.to_vec(), type_ids: vec![0; ids.len()], shared_prefix }
    }

    fn found(pairs: &[PairTokens]) -> (Vec<(usize, Vec<usize>)>, usize) {
        let pairs: Vec<&PairTokens> = pairs.iter().collect();
        let groups = groups(&pairs).into_iter().map(|g| (g.prefix, g.members)).collect();
        (groups, tokens(&pairs))
    }

    #[test]
    fn equal_prefixes_find_each_other_wherever_they_are() {
        let pairs =
            [pair(&[1, 2, 3], 2), pair(&[1, 4, 3], 2), pair(&[1, 2, 5, 6], 2), pair(&[1, 4], 2)];
        // The last one's second token is its last, so it shares one.
        let groups = vec![(2, vec![0, 2]), (1, vec![1, 3])];
        assert_eq!(found(&pairs), (groups, 12 - 2 - 1));
    }

    #[test]
    fn the_least_is_shared_where_that_saves() {
        let mut pairs = vec![pair(&[1, 2, 3, 4, 5], 4), pair(&[1, 2, 3, 4, 6], 3)];
        assert_eq!(found(&pairs).0, [(3, vec![0, 1])]);
        // Three that share four: a fourth that shares two is better off alone.
        pairs = vec![pair(&[1, 2, 3, 4, 5], 4); 3];
        pairs.push(pair(&[1, 2, 3, 4, 5], 2));
        assert_eq!(found(&pairs).0, [(4, vec![0, 1, 2]), (2, vec![3])]);
    }

    #[test]
    fn what_shares_nothing_is_alone() {
        let pairs = [pair(&[1, 2], 0), pair(&[1, 2], 0), pair(&[1], 1), pair(&[1], 9)];
        assert_eq!(found(&pairs).0.len(), 4);
        assert_eq!(found(&pairs).1, 6);
        assert_eq!(found(&[]), (vec![], 0));
    }
}
