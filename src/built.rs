//! What `build.rs` has built, and what it tells of the build.

use rcorn_control::Build;
use rcorn_driver::NativeModules;

/// The native modules.
pub(crate) static MODULES: NativeModules = NativeModules {
    abi3: include_bytes!(env!("RCORN_MODULE_ABI3")),
    cp314t: include_bytes!(env!("RCORN_MODULE_CP314T")),
    abi3t: include_bytes!(env!("RCORN_MODULE_ABI3T")),
};

/// The executable of fronts, compressed.
pub(crate) static FRONT: &[u8] = include_bytes!(env!("RCORN_FRONT_IMAGE"));

/// This build.
pub(crate) fn build() -> Build {
    Build {
        target: env!("RCORN_BUILD_TARGET").to_owned(),
        profile: env!("RCORN_BUILD_PROFILE").to_owned(),
        rustc: env!("RCORN_BUILD_RUSTC").to_owned(),
        sources: env!("RCORN_BUILD_SOURCES").to_owned(),
        modules: MODULES.abis(),
    }
}
