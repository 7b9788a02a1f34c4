//! Numbers that look random, and are the same for the same seed.

use nix::unistd::Pid;

/// Knuth's linear congruence: a run must be repeatable, not unpredictable.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number, below 2^31.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// One of these processes; `None` if there is none.
    pub(crate) fn choose(&mut self, among: &[Pid]) -> Option<Pid> {
        let count = u64::try_from(among.len()).unwrap();
        let index = self.next().checked_rem(count)?;
        among.get(usize::try_from(index).unwrap()).copied()
    }
}
