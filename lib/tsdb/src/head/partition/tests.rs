//! A partition alone: what the engine's tests cannot aim at.

use cairn_model::Labels;
use cairn_model::TenantId;

use super::*;
use crate::head::read::Gathered;

const IDENTITY: Identity = Identity { index: 3, tag: 7, key_seed: 11, window_ms: 10_000 };

fn append(p: &mut Partition, labels: &Labels, samples: &[(i64, f64)]) -> Verdicts {
    let mut batch = WriteBatch::new(TenantId::default_tenant());
    batch.push_floats(labels.as_ref(), samples);
    let ids = AtomicU64::new(1);
    let request = Request { tenant: 0, batch: &batch, segment: 1, admit: &|| Ok(()), next_log_id: &ids };
    let mut verdicts = Verdicts::default();
    verdicts.reset(1);
    p.append(&request, &[0], &mut verdicts);
    verdicts
}

fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

#[test]
fn references_of_another_process_or_partition_are_unknown() {
    let mut p = Partition::new(IDENTITY);
    let reference = append(&mut p, &labels(1), &[(5, 1.0)]).refs[0];
    assert_eq!(p.resolve(reference), Some(0));
    for other in [reference + 1, reference ^ 1 << 32, reference ^ 1 << 40, 0, u64::MAX] {
        assert_eq!(p.resolve(other), None);
    }
}

#[test]
fn equal_hashes_of_different_labels_are_different_series() {
    let mut p = Partition::new(IDENTITY);
    let mut batch = WriteBatch::new(TenantId::default_tenant());
    for n in 0..2 {
        batch.push_floats(labels(n).as_ref(), &[(5, f64::from(n))]);
        batch.series[n as usize].hash = 42; // as a sender who knows the public hash could arrange
    }
    let ids = AtomicU64::new(1);
    let request = Request { tenant: 0, batch: &batch, segment: 1, admit: &|| Ok(()), next_log_id: &ids };
    let mut verdicts = Verdicts::default();
    verdicts.reset(2);
    p.append(&request, &[0, 1], &mut verdicts);
    assert_eq!((verdicts.created, verdicts.floats), (2, 2));
    assert_ne!(verdicts.refs[0], verdicts.refs[1]);
}

#[test]
fn chunks_end_in_the_turn_of_their_series_and_at_the_windows_edge() {
    let mut p = Partition::new(IDENTITY);
    let samples: Vec<(i64, f64)> = (0..300).map(|i| (i * 50, i as f64)).collect();
    append(&mut p, &labels(1), &samples);
    let mut gathered = Gathered::default();
    p.gather(0, (i64::MIN, i64::MAX), &mut gathered);
    gathered.end_series();
    let ranges: Vec<_> = gathered.finish()[0].iter().map(|c| (c.min_ms() / 50, c.max_ms() / 50)).collect();
    // A window has 200 samples; the turn of slot 0 is each eighth sample of a chunk, and its first chunks are the shortest.
    assert_eq!(ranges, [(0, 15), (16, 159), (160, 199), (200, 215), (216, 299)]);
}

#[test]
fn late_samples_of_a_forgotten_window_never_join_a_generation_that_was_cut() {
    let mut p = Partition::new(IDENTITY);
    append(&mut p, &labels(1), &[(5, 1.0)]);
    p.close_at_once(0, 0, 0);
    p.close_at_once(0, 0, 1);
    p.set_floor(0, (3, 1));
    assert_eq!(
        p.tenant(0).unwrap().late_generation(0),
        Some(2),
        "its own generation is later than the floor's"
    );
    assert_eq!(p.tenant(0).unwrap().late_generation(1), Some(1));
    assert_eq!(p.tenant(0).unwrap().late_generation(3), None);
}

#[test]
fn times_that_no_window_can_hold_are_refused() {
    let mut p = Partition::new(IDENTITY);
    let verdicts = append(&mut p, &labels(1), &[(i64::MIN, 1.0), (-1, 2.0), (0, 3.0), (i64::MAX, 4.0)]);
    assert_eq!((verdicts.floats, verdicts.refused.len()), (2, 2));
}
