//! Options: where they come from, what wins, and what is said about mistakes.

mod support;

use support::Folder;

const POINTS: &str = "x,y,weight\n0,0,1\n0.5,0,1\n9,9,1\n";

#[test]
fn unknown_names_are_answered_with_the_nearest_and_all_known_ones() {
    let folder = Folder::new();
    folder.run("run clu").assert_fails(2, &["unknown chain `clu`", "the nearest is `clue`", "calorimeter"]);
    folder.run("generate calorimter --out f").assert_fails(2, &["the nearest is `calorimeter`"]);
    folder.run("bench nonsense").assert_fails(2, &["unknown benchmark `nonsense`"]);
    folder.run("run clue --evnts 3").assert_fails(2, &["--evnts", "--events"]);
    folder.run("run clue --dump-config -P outlier-facter=2").assert_fails(
        2,
        &[
            "unknown parameter",
            "chain clue",
            "`outlier-facter`",
            "the nearest is `outlier-factor`",
            "dc, rhoc",
        ],
    );
    folder.run("run calorimeter --events 1 --device hots").assert_fails(2, &["--device", "`hots`", "`host`"]);
    folder
        .run("run calorimeter --events 1 --batch size=0")
        .assert_fails(2, &["--batch", "delay=N:US", "`size=0`"]);
    folder.run("run clue -P clusterize-batch=big --input x").assert_fails(2, &["clusterize-batch", "`big`"]);
    folder.run("run calorimeter --events 1 --device cuda").assert_fails(1, &["`cuda` is not here"]);
}

#[test]
fn unknown_keys_of_a_file_are_answered_likewise() {
    let folder = Folder::new();
    let cases = [
        ("thread = 2", "unknown key `thread`; the nearest is `threads`"),
        (
            "[parameters]\ndcc = 2",
            "c.toml, [parameters]: unknown parameter of the chain clue `dcc`; the nearest is `dc`",
        ),
        (
            "[clue]\nrho = 2",
            "c.toml, [clue]: unknown parameter of the chain clue `rho`; the nearest is `rhoc`",
        ),
        ("[calorimeter]\nclustres = \"clue\"", "the nearest is `clusters`"),
        ("[cleu]\ndc = 2", "unknown table `cleu`; the nearest is `clue`"),
        ("clue = 3", "clue: expected a table, found 3"),
        ("on-error = \"skip\"\non_error = \"stop\"", "are the same key"),
        ("events = 3\nslots = ", "c.toml, line 2"),
    ];
    for (text, message) in cases {
        folder.write("c.toml", text);
        folder.run("run clue --dump-config --config c.toml").assert_fails(2, &["c.toml", message]);
    }
    folder.run("run clue --dump-config --config none.toml").assert_fails(1, &["cannot read none.toml"]);
}

#[test]
fn bad_values_are_answered_with_what_was_expected() {
    let folder = Folder::new();
    folder.write("c.toml", "events = -3");
    folder.write("d.toml", "ordered = 1");
    let cases = [
        ("--events many", "--events: expected a whole number, 0 or more, found `many`"),
        ("--threads -2", "--threads: expected a whole number"),
        ("--dc nan", "--dc: expected a finite number, found `nan`"),
        ("-P rhoc=x", "-P: rhoc: expected a finite number, found `x`"),
        ("-P rhoc", "-P: expected KEY=VALUE, found `rhoc`"),
        ("-P spill=often", "-P: spill: expected one of on, off, found `often`"),
        ("--on-error ignore", "--on-error: expected stop, skip, quarantine=DIR"),
        ("--ordered=maybe", "--ordered: expected true or false, found `maybe`"),
        ("--config c.toml", "c.toml: events: expected a whole number, 0 or more, found -3"),
        ("--config d.toml", "d.toml: ordered: expected true or false, found 1"),
    ];
    for (flags, message) in cases {
        folder.run(&format!("run clue --dump-config {flags}")).assert_fails(2, &[message]);
    }
    folder.write("p.csv", POINTS);
    folder
        .run("run clue --input p.csv --rhoc -1")
        .assert_fails(2, &["seed_density = -1 must not be negative"]);
    folder.run("run clue --input p.csv --output p.csv").assert_fails(2, &["--output: p.csv is the --input"]);
    folder
        .run("run clue --input p.csv --trace ./p.csv")
        .assert_fails(2, &["--trace: ./p.csv is the --input"]);
    assert_eq!(folder.read("p.csv"), POINTS);
    folder.run("run clue").assert_fails(2, &["needs --input"]);
    folder
        .run("run calorimeter -P clusters=kmeans")
        .assert_fails(2, &["clusters: expected one of clue, local-max"]);
}

#[test]
fn flags_win_over_p_and_p_over_the_file_and_the_chains_table_over_the_shared_one() {
    let folder = Folder::new();
    folder.write(
        "c.toml",
        "slots = 3\ndeadline_ms = 7\n[parameters]\ndc = 1\nrhoc = 1\n[clue]\nrhoc = 2\noutlier_factor = 3\n",
    );
    let dump = |flags: &str| {
        folder.run(&format!("run clue --dump-config --config c.toml {flags}")).assert_ok().stdout.clone()
    };
    let has = |dump: &str, line: &str| {
        assert!(dump.lines().any(|held| held.starts_with(line)), "no `{line}` in {dump}");
    };
    let file = dump("");
    for line in ["slots = 3 ", "deadline-ms = 7 ", "dc = 1.0 ", "rhoc = 2.0 ", "outlier-factor = 3.0 "] {
        has(&file, line);
    }
    has(&file, "spill = \"off\" ");
    let over = dump("-P dc=5 -P rhoc=5 --dc 6 --slots 4 -P slots=5 -P spill=on");
    for line in ["slots = 4 ", "dc = 6.0 ", "rhoc = 5.0 ", "outlier-factor = 3.0 ", "spill = \"on\" "] {
        has(&over, line);
    }
}

#[test]
fn what_dump_config_prints_is_read_back_as_the_same() {
    let folder = Folder::new();
    let runs = [
        "run clue",
        "run calorimeter -P clusters=local-max --seed 18446744073709551615",
        "run clue --input a\"b.csv --dc 1e-7 --rhoc 0.1 --threads 2 --on-error retry=2,quarantine=q --ordered --trace t.json",
    ];
    for run in runs {
        let first = folder.run(&format!("{run} --dump-config"));
        folder.write("c.toml", &first.assert_ok().stdout);
        let chain: Vec<&str> = run.split(' ').take(2).collect();
        let second = folder.run(&format!("{} --config c.toml --dump-config", chain.join(" ")));
        assert_eq!(first.stdout, second.assert_ok().stdout);
    }
}

#[test]
fn a_dry_run_checks_everything_and_leaves_nothing() {
    let folder = Folder::new();
    folder.write("p.csv", POINTS);
    let plan = folder.run("run clue --input p.csv --output o.csv --threads 3 --slots 5 --dry-run");
    for line in [
        "chain       clue",
        "reads       p.csv",
        "algorithm   clusterize (points)",
        "writes      o.csv",
        "device      host",
        "threads     3",
    ] {
        assert!(plan.assert_ok().stdout.contains(line), "{plan:#?}");
    }
    assert_eq!(folder.files(), ["p.csv"]);
    folder
        .run("run clue --input none.csv --dry-run")
        .assert_fails(1, &["cannot read none.csv", "No such file"]);
    folder
        .run("run clue --input p.csv --output no/o.csv --dry-run")
        .assert_fails(1, &["cannot write no/o.csv"]);
    folder
        .run("run clue --input p.csv --replay no --dry-run")
        .assert_fails(1, &["cannot read no/quarantine.jsonl"]);
}

#[test]
fn list_and_graph_describe_every_chain() {
    let folder = Folder::new();
    let list = folder.run("list");
    for part in
        ["calorimeter", "clue", "clusterize (points)", "-P dc=20", "[GeV]", "host", "cuda", "not here: "]
    {
        assert!(list.assert_ok().stdout.contains(part), "no `{part}` in {}", list.stdout);
    }
    for chain in ["clue", "calorimeter"] {
        let graph = folder.run(&format!("graph {chain}"));
        assert!(graph.assert_ok().stdout.starts_with(&format!("digraph \"{chain}\" {{")));
    }
    let other = folder.run("graph calorimeter -P clusters=local-max");
    assert!(!other.assert_ok().stdout.contains("place_cells"));
}

#[test]
fn help_is_no_error_and_nothing_at_all_is() {
    let folder = Folder::new();
    assert!(folder.run("run --help").assert_ok().stdout.contains("--on-error"));
    assert!(folder.run("--version").assert_ok().stdout.starts_with("asynchrotron "));
    assert_eq!(folder.run("").code, Some(2));
    folder.run("run").assert_fails(2, &["<CHAIN>"]);
}
