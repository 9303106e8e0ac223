//! The naive model: a map that keeps the greatest value ever offered for a series and time.

use cairn_model::external::ExternalLabels;
use cairn_model::sample::Sample;
use cairn_model::{Labels, TenantId};
use cairn_tsdb::head::order;

use crate::support::Contents;

/// What a database must hold.
#[derive(Default, Clone)]
pub struct Model {
    /// By answered labels.
    pub contents: Contents,
}

/// What the database must say of an offered sample.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Expected {
    Stored,
    Conflict,
}

impl Model {
    /// Offers a sample.
    pub fn offer(&mut self, tenant: &str, labels: &Labels, sample: &Sample) -> Expected {
        let tenant = TenantId::new(tenant).expect("a valid tenant");
        let external = ExternalLabels::for_tenant(&tenant, &Labels::empty());
        let series = self.contents.entry(external.merge(labels.as_ref()).to_string()).or_default();
        match series.get(&sample.t_ms) {
            None => {
                series.insert(sample.t_ms, sample.clone());
                Expected::Stored
            }
            Some(there) if order::same(&there.value, &sample.value) => Expected::Stored,
            Some(there) => {
                if order::compare(&sample.value, &there.value).is_gt() {
                    series.insert(sample.t_ms, sample.clone());
                }
                Expected::Conflict
            }
        }
    }
}
