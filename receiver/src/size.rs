//! How large a request may be: the receiver's own bounds, which keep its memory, and the tenant's, which may be
//! narrower. Over one of them is a 413 for the whole request.

use cairn_model::TenantId;
use cairn_net::ApiError;

use crate::limits::TenantLimits;
use crate::receiver::Receiver;

/// A bound and who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    bytes: u64,
    /// Whether it is the tenant's, and narrower than the receiver's.
    is_tenants: bool,
}

impl Bound {
    fn of(receivers: u64, tenants: u64) -> Self {
        let is_tenants = tenants > 0 && tenants < receivers;
        Bound { bytes: if is_tenants { tenants } else { receivers }, is_tenants }
    }
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct SizeLimits<'a> {
    body: Bound,
    decoded: Bound,
    tenant: Option<&'a TenantId>,
}

impl<'a> SizeLimits<'a> {
    /// Those that hold before the tenant is known.
    pub fn of_everybody(receiver: &Receiver) -> Self {
        let config = &receiver.config;
        SizeLimits {
            body: Bound::of(config.max_body_bytes, 0),
            decoded: Bound::of(config.max_decoded_bytes, 0),
            tenant: None,
        }
    }

    /// Those of a request of `tenant`.
    pub fn of(receiver: &Receiver, tenant: &'a TenantId) -> Self {
        let (config, limits) = (&receiver.config, receiver.limits.of(tenant));
        SizeLimits {
            body: Bound::of(config.max_body_bytes, limits.body_bytes),
            decoded: Bound::of(config.max_decoded_bytes, limits.decoded_bytes),
            tenant: Some(tenant),
        }
    }

    /// Whether a body of `len` bytes, or one of which so many have come, may be read.
    ///
    /// # Errors
    /// 413 with the limit and who set it.
    pub fn check_body(&self, len: u64) -> Result<(), ApiError> {
        self.check(self.body, len, "bytes", "--remote-write.max-body")
    }

    /// Whether a body may be decompressed into `len` bytes.
    ///
    /// # Errors
    /// 413 with the limit and who set it.
    pub fn check_decoded(&self, len: u64) -> Result<(), ApiError> {
        self.check(self.decoded, len, "bytes decompressed", "--remote-write.max-decoded")
    }

    fn check(&self, bound: Bound, len: u64, unit: &str, flag: &str) -> Result<(), ApiError> {
        if len <= bound.bytes {
            return Ok(());
        }
        let by = match self.tenant.filter(|_| bound.is_tenants) {
            Some(tenant) => format!("of tenant {tenant}"),
            None => format!("({flag})"),
        };
        Err(ApiError::TooLarge(format!(
            "cannot take in a body of {len} {unit}: limit {} {by}, send fewer samples a request",
            bound.bytes
        )))
    }

    /// Whether a request of so many series and samples may be stored.
    ///
    /// # Errors
    /// 413 with the limit.
    pub fn check_request(&self, limits: &TenantLimits, series: u64, samples: u64) -> Result<(), ApiError> {
        let counts =
            [("series", series, limits.series_per_request), ("samples", samples, limits.samples_per_request)];
        for (what, have, limit) in counts {
            if limit > 0 && have > limit {
                let tenant = self.tenant.map_or("", TenantId::as_str);
                return Err(ApiError::TooLarge(format!(
                    "cannot take in a request of {have} {what}: limit {limit} of tenant {tenant}; nothing of this request is stored"
                )));
            }
        }
        Ok(())
    }
}
