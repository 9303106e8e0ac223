//! What an operator can set, and the inequalities between the settings.

use std::path::PathBuf;
use std::time::Duration;

use cairn_model::TenantId;

/// Settings of a receiver.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// Largest body as it comes (`--remote-write.max-body`).
    pub max_body_bytes: u64,
    /// Largest body decompressed (`--remote-write.max-decoded`).
    pub max_decoded_bytes: u64,
    /// Budget for requests in hand. At least [`ReceiverConfig::largest_request_bytes`], or the largest requests
    /// would be refused for ever.
    pub admission_bytes: u64,
    /// Tenant of requests that name none (`--receive.default-tenant-id`).
    pub default_tenant: TenantId,
    /// Names of external labels; an incoming label of such a name gives way.
    pub external_labels: Vec<String>,
    /// How long the store may take. Below a stock sender's own timeout (30 s), so that it reads our answer.
    pub append_timeout: Duration,
    /// How long a client may take for a body.
    pub body_timeout: Duration,
    /// Known wire keys a tenant; each takes about 60 bytes.
    pub max_known_series: usize,
    /// Where bodies that make us panic are kept; nowhere when `None`.
    pub quarantine_dir: Option<PathBuf>,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        ReceiverConfig {
            max_body_bytes: 32 << 20,
            max_decoded_bytes: 128 << 20,
            admission_bytes: 384 << 20,
            default_tenant: TenantId::default_tenant(),
            external_labels: vec![cairn_model::tenant::TENANT_LABEL.to_owned()],
            append_timeout: Duration::from_secs(25),
            body_timeout: cairn_net::body::BODY_TIMEOUT,
            max_known_series: 8 << 20,
            quarantine_dir: None,
        }
    }
}

/// Settings that contradict one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot start the receiver: the budget for requests in hand is {admission_bytes} bytes and the largest request needs {needed}: raise --memory.limit or lower --remote-write.max-decoded"
)]
pub struct BudgetTooSmall {
    /// As configured.
    pub admission_bytes: u64,
    /// What the largest request takes.
    pub needed: u64,
}

impl ReceiverConfig {
    /// What the largest request that is accepted takes at once: its body, the decompressed bytes, and as much
    /// again for its batch.
    pub fn largest_request_bytes(&self) -> u64 {
        self.max_body_bytes + 2 * self.max_decoded_bytes
    }

    /// These settings within a budget: `max_decoded_bytes` is lowered until the largest request fits.
    pub fn within(mut self, admission_bytes: u64) -> Self {
        self.admission_bytes = admission_bytes;
        self.max_body_bytes = self.max_body_bytes.min(admission_bytes / 4);
        let left = admission_bytes - self.max_body_bytes;
        self.max_decoded_bytes = self.max_decoded_bytes.min(left / 2);
        self
    }

    /// Checks the inequalities.
    ///
    /// # Errors
    /// [`BudgetTooSmall`].
    pub fn validate(&self) -> Result<(), BudgetTooSmall> {
        let needed = self.largest_request_bytes();
        let admission_bytes = self.admission_bytes;
        if needed > admission_bytes { Err(BudgetTooSmall { admission_bytes, needed }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_request_fits_into_the_budget() {
        assert_eq!(ReceiverConfig::default().validate(), Ok(()));
        for budget in [0, 1, 1000, 64 << 20, 1 << 40] {
            assert_eq!(ReceiverConfig::default().within(budget).validate(), Ok(()), "{budget}");
        }
        let small = ReceiverConfig { admission_bytes: 1 << 20, ..ReceiverConfig::default() };
        assert!(small.validate().unwrap_err().to_string().contains("--memory.limit"));
    }
}
