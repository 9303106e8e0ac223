//! `label_replace` and `label_join`: they change labels and look at no sample.

use cairn_model::LabelsBuilder;
use cairn_model::labels::METRIC_NAME;

use super::super::column::Matrix;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Relabel, RelabelRule};
use super::Evaluator;
use crate::annotations::Annotations;

impl Evaluator<'_> {
    /// Evaluates a change of labels.
    pub(super) fn relabel(
        &self,
        r: &Relabel,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let mut matrix = self.vector(&r.arg, grid, notes)?;
        let mut value = String::new();
        for (i, s) in matrix.series.iter_mut().enumerate() {
            self.check_at(i)?;
            value.clear();
            match &r.rule {
                RelabelRule::Replace { source, regex, replacement } => {
                    let text = s.labels.get(source).unwrap_or("");
                    let Some(captures) = regex.captures(text) else { continue };
                    captures.expand(replacement, &mut value);
                }
                RelabelRule::Join { separator, sources } => {
                    for (n, name) in sources.iter().enumerate() {
                        if n > 0 {
                            value.push_str(separator);
                        }
                        value.push_str(s.labels.get(name).unwrap_or(""));
                    }
                }
            }
            let mut b = LabelsBuilder::from_labels(s.labels.as_ref());
            b.set(&r.target, &value);
            s.labels = b.build();
            if r.target == METRIC_NAME {
                s.drop_name = false; // a name that was just given stays
            }
        }
        matrix.merge_same_labels()?;
        Ok(matrix)
    }
}
