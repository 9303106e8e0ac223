//! Every acknowledged sample is readable at once and for ever, over crashes, restarts, seals and releases; of several
//! values of one time, the greatest acknowledged one or a greater one that was offered.

use cairn_tsdb::head::order;

use super::Violation;
use crate::ledger::Contents;

/// `acked` was taken before the read of `contents` began.
pub fn check(acked: &Contents, contents: &Contents, when: &str) -> Result<(), Violation> {
    let broken = |what: String| Err(Violation::new("acked is readable", format!("{what}, {when}")));
    for (series, times) in acked {
        for (t_ms, value) in times {
            match contents.get(series).and_then(|s| s.get(t_ms)) {
                None => return broken(format!("{series} at {t_ms} is missing: {value:?} was acknowledged")),
                Some(seen) if order::compare(seen, value).is_lt() => {
                    return broken(format!(
                        "{series} at {t_ms} is {seen:?}: the greater {value:?} was acknowledged"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Value;

    fn contents(values: &[(i64, f64)]) -> Contents {
        let times = values.iter().map(|(t, v)| (*t, Value::Float(*v))).collect();
        Contents::from([("a".to_owned(), times)])
    }

    #[test]
    fn a_missing_and_a_lesser_value_are_found_and_a_greater_one_is_not() {
        let acked = contents(&[(1, 5.0), (2, 6.0)]);
        assert!(check(&acked, &contents(&[(1, 5.0), (2, 7.0), (3, 1.0)]), "now").is_ok());
        assert!(check(&acked, &contents(&[(1, 5.0)]), "now").is_err());
        assert!(check(&acked, &contents(&[(1, 4.0), (2, 6.0)]), "now").is_err());
        assert!(check(&acked, &Contents::new(), "now").is_err());
    }
}
