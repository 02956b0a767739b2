//! What the compiler says to a physicist who made a mistake.

/// The exact text is the compiler's affair and changes with it, so only our part of it is compared: every case must fail
/// to compile, and say in our words what an algorithm is.
#[test]
fn mistakes_are_explained_in_the_words_of_the_field() {
    let cases = [
        ("wrong_product", ["cannot be an algorithm with the inputs", "one `Arc<T>` for each input handle"]),
        ("not_a_tuple", ["cannot be the inputs of an algorithm", "expected a tuple of handles"]),
        ("not_async", ["cannot be an algorithm with the inputs", "an algorithm is an `async fn`"]),
    ];
    for (case, expected) in cases {
        let message = compile(case);
        for text in expected {
            assert!(
                message.contains(text),
                "{text:?} is missing in the compiler's message for {case}:\n{message}"
            );
        }
    }
}

/// Compiles a file against this build of the runtime, and gives the compiler's message.
fn compile(case: &str) -> String {
    // The test lies in target/PROFILE/deps, beside everything that it was built from.
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let newest = std::fs::read_dir(&deps)
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name().into_string().unwrap_or_default();
            name.starts_with("libasynchrotron-") && name.ends_with(".rlib")
        })
        .max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok())
        .expect("the runtime was built for this test");
    let source = format!("{}/tests/compile_fail/{case}.rs", env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--out-dir"])
        .arg(scratch.path())
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("asynchrotron={}", newest.path().display()))
        .arg(&source)
        .output()
        .expect("rustc runs");
    assert!(!output.status.success(), "{source} compiles");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
