//! Shards: a part of the series, by a hash of some of their labels. Who splits a query asks for one shard after the
//! other; all shards together are everything once.
//!
//! Source: Thanos' `ShardInfo`, xxHash64 over `name 0xFF value 0xFF` of the labels in order.

use cairn_model::labels::Labels;
use serde::Deserialize;

/// Which part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Shard {
    /// Number of the part, from 0.
    #[serde(rename = "shard_index")]
    pub index: i64,
    /// How many parts there are; below 1 means that nothing is split.
    #[serde(rename = "total_shards")]
    pub total: i64,
    /// Whether `labels` are those that are hashed, or those that are not.
    pub by: bool,
    /// Names.
    pub labels: Vec<String>,
}

impl Shard {
    /// Whether series with `labels` are in it.
    pub fn holds(&self, labels: &Labels) -> bool {
        if self.total < 1 {
            return true;
        }
        let listed = |n: &str| self.labels.iter().any(|l| l == n);
        let hash = labels.filtered(|n| listed(n) == self.by).stable_hash();
        hash % self.total as u64 == self.index as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_part_the_series() {
        let labels: Vec<Labels> = (0..200)
            .map(|i| Labels::from_pairs([("a", i.to_string()), ("b", "x".into())]).unwrap())
            .collect();
        for by in [true, false] {
            let shard = |index| Shard { index, total: 3, by, labels: vec!["a".into()] };
            let owners: Vec<usize> =
                labels.iter().map(|l| (0..3).filter(|i| shard(*i).holds(l)).count()).collect();
            assert!(owners.iter().all(|n| *n == 1));
            let first = labels.iter().filter(|l| shard(0).holds(l)).count();
            // Without the label `a` all series hash alike.
            assert!(if by { (20..180).contains(&first) } else { first == 0 || first == 200 });
        }
    }

    #[test]
    fn thanos_json_is_read_and_no_shard_is_everything() {
        let shard: Shard =
            serde_json::from_str(r#"{"shard_index":1,"total_shards":2,"by":true,"labels":["a"]}"#).unwrap();
        assert_eq!(shard, Shard { index: 1, total: 2, by: true, labels: vec!["a".into()] });
        assert!(serde_json::from_str::<Shard>("{}").unwrap().holds(&Labels::empty()));
    }
}
