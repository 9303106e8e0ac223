//! How the series of two vectors pair up: `on`, `ignoring`, `group_left`, `group_right`, `fill`.

/// How many series of one side pair with one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VectorMatchCardinality {
    /// The default.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl VectorMatchCardinality {
    /// As Prometheus names it in `parse_query`.
    pub fn as_str(self) -> &'static str {
        match self {
            VectorMatchCardinality::OneToOne => "one-to-one",
            VectorMatchCardinality::ManyToOne => "many-to-one",
            VectorMatchCardinality::OneToMany => "one-to-many",
            VectorMatchCardinality::ManyToMany => "many-to-many",
        }
    }
}

/// How the series of two vectors pair up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VectorMatching {
    /// See [`VectorMatchCardinality`].
    pub card: VectorMatchCardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` is of `on`.
    pub on: bool,
    /// Labels that `group_left` or `group_right` takes over from the one side.
    pub include: Vec<String>,
    /// Values for a side that has no partner (experimental).
    pub fill: FillValues,
}

/// Values that stand in for a missing partner.
#[derive(Debug, Clone, Copy, Default)]
pub struct FillValues {
    /// For a missing left side.
    pub lhs: Option<f64>,
    /// For a missing right side.
    pub rhs: Option<f64>,
}

/// NaN equals NaN, so that trees can be compared.
impl PartialEq for FillValues {
    fn eq(&self, o: &Self) -> bool {
        let key = |v: Option<f64>| v.map(|v| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() });
        key(self.lhs) == key(o.lhs) && key(self.rhs) == key(o.rhs)
    }
}

impl FillValues {
    /// Whether any side is filled.
    pub fn is_some(self) -> bool {
        self.lhs.is_some() || self.rhs.is_some()
    }
}
