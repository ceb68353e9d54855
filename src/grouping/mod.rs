//! Which events are the same error: `g1`, the first version of the grouping algorithm. Pure.
