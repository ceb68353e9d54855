//! How many entries of a list fit into the memory that all of them together may take.

/// The entries that fit, made into a `T`; `T::default()` without any.
pub(super) struct Fit<T> {
    pub(super) compiled: T,
    /// How many fit, counted from the first.
    pub(super) count: usize,
    /// Why the next one does not; `None` if all fit.
    pub(super) refusal: Option<regex::Error>,
}

/// Compiles as many of `length` entries as fit together. `compile` makes the first so many into one: an attempt that
/// fails takes as long as the limit allows, so their number must not be that of the entries.
pub(super) fn most<T: Default>(length: usize, compile: impl Fn(usize) -> Result<T, regex::Error>) -> Fit<T> {
    let (mut count, mut too_many, mut attempt) = (0, length + 1, length);
    let (mut compiled, mut refusal) = (T::default(), None);
    while count + 1 < too_many {
        match compile(attempt) {
            Ok(fitting) => (count, compiled) = (attempt, fitting),
            Err(error) => (too_many, refusal) = (attempt, Some(error)),
        }
        attempt = usize::midpoint(count, too_many);
    }
    Fit { compiled, count, refusal }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_most_that_fits_is_found_in_few_attempts() {
        for (length, limit) in [(0, 0), (1, 0), (1, 1), (2, 1), (100, 0), (100, 1), (100, 63), (100, 99), (100, 100)] {
            let attempts = Cell::new(0);
            let fit = most(length, |count| {
                attempts.set(attempts.get() + 1);
                if count <= limit { Ok(count) } else { Err(regex::Error::CompiledTooBig(1)) }
            });
            let all = limit == length;
            assert_eq!((fit.compiled, fit.count, fit.refusal.is_none()), (limit, limit, all), "{limit} of {length}");
            assert!(attempts.get() <= 8, "{} attempts", attempts.get());
        }
    }
}
