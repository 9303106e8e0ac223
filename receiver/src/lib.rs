//! Remote-write receiver: admit, decompress, scan, judge, route, append, answer.
