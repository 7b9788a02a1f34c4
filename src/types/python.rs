/// The newest CPython that this build was tried with. A later 3.x keeps to the stable ABI of 3.9,
/// which the native module uses, so it is served too, with a warning.
pub const NEWEST_PYTHON: (u8, u8) = (3, 15);
