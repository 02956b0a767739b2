//! Provides what the optional features need at run time. Never fails: the program says what is missing.
#![forbid(unsafe_code)]

#[cfg(feature = "onnx")]
#[path = "build/onnxruntime.rs"]
mod onnxruntime;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "onnx")]
    onnxruntime::provide();
}
