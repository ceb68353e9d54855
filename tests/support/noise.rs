//! Text that does not get smaller when it is compressed, for objects as large as they can be.

/// So many characters of four bytes; the same for the same seed.
pub fn noise(seed: u64, characters: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..characters).map(|_| char::from_u32(0x2_0000 + u32::try_from(next() % 0x8000).unwrap()).unwrap()).collect()
}
