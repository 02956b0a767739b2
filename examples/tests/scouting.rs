//! The chain `scouting`, in memory and on files of words, good and bad ones.

mod support;

use support::{Folder, parquet_rows};

/// The words of a file, without its mark.
fn words(folder: &Folder, name: &str) -> Vec<u64> {
    let bytes = std::fs::read(folder.path(name)).unwrap();
    assert_eq!(&bytes[..8], b"ASCOUT01");
    bytes[8..].as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

fn write_words(folder: &Folder, name: &str, words: &[u64]) {
    let bytes: Vec<u8> =
        b"ASCOUT01".iter().copied().chain(words.iter().flat_map(|word| word.to_le_bytes())).collect();
    std::fs::write(folder.path(name), bytes).unwrap();
}

/// Where the headers are.
fn headers(words: &[u64]) -> Vec<usize> {
    (0..words.len()).filter(|&at| words[at] >> 62 == 3).collect()
}

#[test]
fn events_from_a_file_give_what_the_same_events_in_memory_give() {
    let folder = Folder::new();
    // Enough for several blocks.
    let generated = folder.run("generate scouting --events 700 --seed 5 --out s.bin");
    assert_eq!(generated.assert_ok().stdout, "wrote 700 events to s.bin\n");
    assert!(folder.path("s.bin").metadata().unwrap().len() > 3 * (64 << 10));
    assert_eq!(headers(&words(&folder, "s.bin")).len(), 700);
    let file = folder.run("run scouting --input s.bin --output a.parquet --ordered");
    let memory = folder.run("run scouting --events 700 --seed 5 --output b.parquet --ordered");
    for part in ["taus selected in 700 events", "network: area under ROC", "cuts: area", "68 % half-width"] {
        assert!(file.assert_ok().summary().contains(part), "{file:#?}");
    }
    assert_eq!(file.summary(), memory.assert_ok().summary());
    let rows = parquet_rows(&folder.path("a.parquet"));
    assert_eq!(rows.len(), 700);
    assert_eq!(rows, parquet_rows(&folder.path("b.parquet")));
    assert_eq!(folder.files(), ["a.parquet", "b.parquet", "s.bin"]);
}

#[test]
fn output_depends_neither_on_threads_and_slots_nor_on_how_batches_form() {
    let folder = Folder::new();
    folder.run("run scouting --events 200 --ordered --output host.parquet").assert_ok();
    let host = std::fs::read(folder.path("host.parquet")).unwrap();
    for (threads, slots) in [(1, 1), (2, 64)] {
        let flags = format!("--threads {threads} --slots {slots} --ordered --output o.parquet");
        folder.run(&format!("run scouting --events 200 {flags}")).assert_ok();
        assert!(std::fs::read(folder.path("o.parquet")).unwrap() == host, "{flags}");
    }
    let expected = parquet_rows(&folder.path("host.parquet"));
    for policy in ["off", "size=500", "adaptive", "fixed=8"] {
        let flags =
            format!("--device emulated:lanes=2 --batch {policy} --slots 32 --ordered --output o.parquet");
        folder.run(&format!("run scouting --events 200 {flags}")).assert_ok();
        assert_eq!(parquet_rows(&folder.path("o.parquet")), expected, "{policy}");
    }
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_refused() {
    let folder = Folder::new();
    let cases: [(&[u8], &str); 4] = [
        (b"", "p.bin: not a file of scouting words: expected ASCOUT01 at its beginning, found nothing"),
        (b"ASCO", "found `ASCO`"),
        (b"x,y,weight\n1,2,3\n", "found `x,y,weig`"),
        (b"ASCOUT01", "p.bin: there are no events in the file"),
    ];
    for (content, message) in cases {
        std::fs::write(folder.path("p.bin"), content).unwrap();
        folder
            .run("run scouting --input p.bin --on-error skip --output o.parquet")
            .assert_fails(1, &[message]);
    }
    assert_eq!(folder.files(), ["p.bin"]);
    folder.run("run scouting --input none.bin").assert_fails(1, &["cannot read none.bin"]);
}

#[test]
fn words_that_make_no_sense_cost_their_event_and_are_named() {
    let folder = Folder::new();
    folder.run("generate scouting --events 9 --seed 1 --out s.bin").assert_ok();
    let good = words(&folder, "s.bin");
    let at = headers(&good);
    let run = |bad: &[u64]| {
        write_words(&folder, "p.bin", bad);
        folder.run("run scouting --input p.bin").assert_fails(1, &["event "]);
        let skipped = folder.run("run scouting --input p.bin --on-error skip --ordered --output o.parquet");
        skipped.assert_ok();
        skipped
    };
    let count = |events: usize| assert_eq!(parquet_rows(&folder.path("o.parquet")).len(), events);

    let mut bad = good.clone();
    bad[at[2] + 3] &= !0x3fff; // no pT
    bad[at[5]] &= !(0xfff << 18);
    bad[at[5]] |= 3564 << 18; // no such bunch crossing
    let skipped = run(&bad);
    let place = format!("at word {} of the file: orbit 0, bx 2, word 3: pt = 0 in 0x", at[2]);
    for part in [&place[..], "event 5: ", "word 0: bx = 3564 in 0x"] {
        assert!(skipped.stdout.contains(part), "no `{part}` in {}", skipped.stdout);
    }
    count(7);

    let mut bad = good.clone();
    bad.remove(at[4] + 1); // one candidate less than announced
    bad.insert(at[3], 77); // a word that belongs nowhere
    let skipped = run(&bad);
    let announced = at[5] - at[4] - 1;
    let missing =
        format!("bx 4: the header announces {announced} words after it, and {} follow", announced - 1);
    let stray = format!("p.bin, word {}: expected a header, found 1 words that belong to no event", at[3]);
    for part in [missing, stray] {
        assert!(skipped.stdout.contains(&part), "no `{part}` in {}", skipped.stdout);
    }
    count(8);

    let twice = [&good[..], &good[at[6]..at[7]]].concat();
    let skipped = run(&twice);
    assert!(skipped.stdout.contains("event 6 came before"), "{}", skipped.stdout);
    count(9);
}

#[test]
fn a_file_that_is_cut_short_says_so_and_gives_what_is_whole() {
    let folder = Folder::new();
    folder.run("generate scouting --events 5 --seed 1 --out s.bin").assert_ok();
    let bytes = std::fs::read(folder.path("s.bin")).unwrap();
    let last = 8 + 8 * headers(&words(&folder, "s.bin"))[4];
    for (length, message) in [
        (bytes.len() - 8, "orbit 0, bx 4: the header announces"),
        (bytes.len() - 3, "orbit 0, bx 4: the header announces"),
        (last + 5, "the file ends in the middle of a word, after 5 bytes"),
    ] {
        std::fs::write(folder.path("p.bin"), &bytes[..length]).unwrap();
        let skipped = folder.run("run scouting --input p.bin --on-error skip");
        assert!(skipped.assert_ok().stdout.contains("Processed 4 events"), "{skipped:#?}");
        assert!(skipped.stdout.contains(message), "no `{message}` in {}", skipped.stdout);
    }
}

#[test]
fn the_cuts_can_be_chosen_instead_of_the_network() {
    let folder = Folder::new();
    let cuts = folder.run("run scouting --events 300 -P tagger=cuts -P lead-pt-min=8");
    assert!(cuts.assert_ok().summary().contains("cuts: area"), "{cuts:#?}");
    assert!(!cuts.stdout.contains("network") && !cuts.stdout.contains("\n  tag "), "{cuts:#?}");
    let none = folder.run("run scouting --events 300 -P probability-min=1");
    assert!(none.assert_ok().summary().starts_with("0 taus selected in 300 events\n"), "{none:#?}");
}

#[test]
fn what_networks_learn_from_is_written_with_its_truth() {
    let folder = Folder::new();
    for what in ["scouting-features", "calorimeter-cells"] {
        folder.run(&format!("generate {what} --events 20 --seed 2 --out t.parquet")).assert_ok();
        let rows = parquet_rows(&folder.path("t.parquet"));
        assert_eq!(rows.len(), 20);
        folder.run(&format!("generate {what} --events 20 --seed 2 --out again.parquet")).assert_ok();
        assert_eq!(rows, parquet_rows(&folder.path("again.parquet")));
    }
}

#[test]
fn choices_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    folder.run("run scouting -P dc=0 --events 1").assert_fails(2, &["density_radius = 0 must"]);
    folder
        .run("run scouting -P probability-min=2 --events 1")
        .assert_fails(2, &["probability-min = 2 must lie"]);
    folder.run("run scouting -P outlier-factor=0.5 --events 1").assert_fails(2, &["be at least 1"]);
}
