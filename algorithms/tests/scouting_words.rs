//! The words of the scouting stream: there and back, and all the ways in which they can be bad.

use asynchrotron_algorithms::scouting::*;
use proptest::prelude::*;

fn candidate() -> impl Strategy<Value = CandidateWord> {
    let rest = (-512_i16..512, any::<i8>(), 0_u8..16, 0_u16..=512);
    (1_u16..1 << 14, -2048_i16..2048, -720_i16..720, 0_usize..8, rest).prop_map(
        |(pt, eta, phi, pid, (z0, dxy, quality, weight))| {
            let particle = Particle::ALL[pid];
            let rest = if particle.is_charged() {
                Rest::Charged { z0, dxy, quality }
            } else {
                Rest::Neutral { weight }
            };
            CandidateWord { pt, eta, phi, particle, rest }
        },
    )
}

fn truth() -> impl Strategy<Value = TruthWord> {
    (1_u16.., -2048_i16..2048, -720_i16..720, 0_u8..5).prop_map(|(pt, eta, phi, origin)| TruthWord {
        pt,
        eta,
        phi,
        origin: Origin::from_number(origin).unwrap(),
    })
}

fn event() -> impl Strategy<Value = Vec<u64>> {
    let words = (prop::collection::vec(candidate(), 0..20), prop::collection::vec(truth(), 0..4));
    (0..u64::from(u32::MAX), words)
        .prop_map(|(event, (candidates, truths))| pack(event, &candidates, &truths))
}

/// Everything that a reader does, on words of which it has only the first `have`, then twice as many, and so on.
fn read_all(words: &[u64]) -> (Vec<Result<BunchCrossing, UnpackError>>, usize) {
    let (mut events, mut stray, mut at, mut have) = (Vec::new(), 0, 0, 1);
    while at < words.len() {
        match frame(&words[at..words.len().min(at + have)]) {
            Frame::Event { words: n } => {
                events.push(unpack(&words[at..at + n]));
                at += n;
            }
            Frame::Stray { words: n } => (stray, at) = (stray + n, at + n),
            Frame::Incomplete { missing } if at + have + missing <= words.len() => have += missing,
            Frame::Incomplete { .. } if at + have < words.len() => have = words.len() - at,
            Frame::Incomplete { .. } => {
                events.push(unpack(&words[at..]));
                at = words.len();
            }
        }
    }
    (events, stray)
}

proptest! {
    #[test]
    fn candidates_come_back_as_they_went(candidate in candidate()) {
        prop_assert_eq!(CandidateWord::decode(candidate.encode()), Ok(candidate));
        prop_assert_eq!(CandidateWord::nearest(&candidate.candidate()), candidate);
        prop_assert_eq!(WordKind::of(candidate.encode()), WordKind::Candidate);
    }

    #[test]
    fn truths_and_headers_come_back_as_they_went(
        truth in truth(),
        orbit: u32,
        bx in 0..BX_PER_ORBIT,
        candidates in 0_u16..4096,
        truths in 0_u8..64,
    ) {
        prop_assert_eq!(TruthWord::decode(truth.encode()), Ok(truth));
        let header = Header { orbit, bx, candidates, truths };
        prop_assert_eq!(Header::decode(header.encode()), Ok(header));
        prop_assert_eq!(Header { candidates, truths, ..Header::of_event(header.event()) }, header);
    }

    #[test]
    fn a_word_that_decodes_is_what_its_content_encodes_to(word: u64, kind in 0_u64..4) {
        let word = word >> 2 | kind << 62;
        if let Ok(candidate) = CandidateWord::decode(word) {
            prop_assert_eq!(candidate.encode(), word);
        }
        if let Ok(truth) = TruthWord::decode(word) {
            prop_assert_eq!(truth.encode(), word);
        }
        if let Ok(header) = Header::decode(word) {
            prop_assert_eq!(header.encode(), word);
        }
    }

    #[test]
    fn physical_values_are_kept_to_half_a_unit(
        pt_gev in 0.25..4000.0_f32, z0_cm in -25.0..25.0_f32, dxy_cm in -0.6..0.6_f32, weight in 0.0..1.0_f32,
        charged: bool,
    ) {
        let candidate = Candidate { pt_gev, z0_cm, dxy_cm, weight, pid: charged.into(), ..Candidate::default() };
        let candidate = Candidate { pid: if charged { 3 } else { 1 }, ..candidate };
        let kept = CandidateWord::nearest(&candidate).candidate();
        prop_assert!((kept.pt_gev - pt_gev).abs() <= 0.5 * PT_STEP_GEV);
        if charged {
            prop_assert!((kept.z0_cm - z0_cm).abs() <= 0.501 * Z0_STEP_CM);
            prop_assert!((kept.dxy_cm - dxy_cm).abs() <= 0.501 * DXY_STEP_CM);
        } else {
            prop_assert!((kept.weight - weight).abs() <= 0.5 * WEIGHT_STEP);
        }
    }

    #[test]
    fn a_stream_falls_apart_into_the_events_it_is_made_of(events in prop::collection::vec(event(), 0..6)) {
        let (found, stray) = read_all(&events.concat());
        let expected: Vec<_> = events.iter().map(|words| unpack(words)).collect();
        prop_assert!(expected.iter().all(Result::is_ok));
        prop_assert_eq!((found, stray), (expected, 0));
    }

    #[test]
    fn damage_costs_the_event_that_it_is_in(
        events in prop::collection::vec(event(), 3),
        lost in any::<prop::sample::Index>(),
        extra: u64,
    ) {
        let middle = &events[1];
        let lost = lost.index(middle.len());
        let first = unpack(&events[0]);
        let last = unpack(&events[2]);
        let mut without = middle.clone();
        without.remove(lost);
        let (found, stray) = read_all(&[&events[0][..], &without, &events[2]].concat());
        prop_assert_eq!((found.first(), found.last()), (Some(&first), Some(&last)));
        prop_assert!(found[1..found.len() - 1].iter().all(Result::is_err));
        prop_assert!(found.len() == 3 || stray > 0 || middle.len() == 1);
        // A word too many that is no header follows the event as a stray.
        let (found, stray) = read_all(&[&events[0][..], middle, &[extra >> 2], &events[2]].concat());
        prop_assert_eq!((found.len(), stray), (3, 1));
        prop_assert_eq!((found.first(), found.last()), (Some(&first), Some(&last)));
    }

    #[test]
    fn whatever_the_words_reading_comes_to_an_end(words in prop::collection::vec(any::<u64>(), 0..60)) {
        let _ = read_all(&words);
    }
}

fn photon() -> CandidateWord {
    CandidateWord {
        pt: 8,
        eta: -3,
        phi: 700,
        particle: Particle::Photon,
        rest: Rest::Neutral { weight: 100 },
    }
}

#[test]
fn fields_lie_where_the_table_says() {
    let track = Rest::Charged { z0: -1, dxy: -1, quality: 9 };
    let word =
        CandidateWord { pt: 1, eta: -1, phi: -1, particle: Particle::HadronPlus, rest: track }.encode();
    let bits = |low: u32, high: u32| word >> low & ((1 << (high - low + 1)) - 1);
    assert_eq!([bits(0, 13), bits(14, 25), bits(26, 36), bits(37, 39)], [1, 0xfff, 0x7ff, 3]);
    assert_eq!([bits(40, 49), bits(50, 57), bits(58, 61), bits(62, 63)], [0x3ff, 0xff, 9, 0]);
    assert_eq!(photon().encode() >> 40, 100);
    let header = Header { orbit: u32::MAX, bx: 1, candidates: 2, truths: 3 }.encode();
    assert_eq!(header, 3 << 62 | u64::from(u32::MAX) << 30 | 1 << 18 | 3 << 12 | 2);
    let truth = TruthWord { pt: 5, eta: 1, phi: 2, origin: Origin::ThreeProngPion }.encode();
    assert_eq!(truth, 1 << 62 | 4 << 39 | 2 << 28 | 1 << 16 | 5);
}

#[test]
fn the_first_word_that_makes_no_sense_is_named_with_its_event() {
    let good = pack(3564 * 7 + 11, &[photon(); 3], &[]);
    let fail = |word: usize, value: u64| {
        let mut words = good.clone();
        words[word] = value;
        unpack(&words).unwrap_err().to_string()
    };
    let word = photon().encode();
    let cases = [
        (word & !0x3fff, "pt = 0 in 0x000064"),
        (word & !(0x7ff << 26) | 720 << 26, "phi = 720 in 0x"),
        (word | 0x3ff << 40, "weight = 1023 in 0x"),
        (word | 5 << 50, "reserved bits = 5 in 0x"),
        (word | 1 << 62, "(truth)"),
        (word | 2 << 62, "expected a candidate word, found 0x"),
    ];
    for (value, message) in cases {
        let text = fail(2, value);
        assert!(text.starts_with("orbit 7, bx 11, word 2: ") && text.contains(message), "{text}");
    }
    assert_eq!(fail(0, word), format!("word 0: expected a header word, found 0x{word:016x} (candidate)"));
    let bx = Header { orbit: 0, bx: 3564, candidates: 3, truths: 0 }.encode();
    assert_eq!(fail(0, bx), format!("word 0: bx = 3564 in 0x{bx:016x} must be below 3564"));
    let count = unpack(&good[..3]).unwrap_err().to_string();
    assert_eq!(count, "orbit 7, bx 11: the header announces 3 words after it, and 2 follow");
    assert_eq!(unpack(&[]).unwrap_err().to_string(), "there is not even a header");
    let truth = TruthWord { pt: 1, eta: 0, phi: 0, origin: Origin::Jet };
    let mut words = pack(0, &[photon()], &[truth, truth]);
    words[3] |= 7 << 39;
    assert_eq!(
        unpack(&words).unwrap_err().to_string(),
        format!("orbit 0, bx 0, word 3: origin = 7 in 0x{:016x} must be at most 4", words[3])
    );
}
