//! What `build.rs` has built, and what it tells of the build.

use rcorn_control::Build;
use rcorn_driver::NativeModule;

/// The native module.
pub(crate) static MODULE: NativeModule = NativeModule(include_bytes!(env!("RCORN_NATIVE")));

/// This build.
pub(crate) fn build() -> Build {
    Build {
        target: env!("RCORN_BUILD_TARGET").to_owned(),
        profile: env!("RCORN_BUILD_PROFILE").to_owned(),
        rustc: env!("RCORN_BUILD_RUSTC").to_owned(),
        sources: env!("RCORN_BUILD_SOURCES").to_owned(),
        modules: vec!["abi3-py39".to_owned()],
    }
}
