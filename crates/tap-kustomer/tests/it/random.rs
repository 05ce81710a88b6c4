//! Organisations by chance: after every run, however it ended, the replica holds everything up to
//! its bookmarks; and once the weather clears, everything.
//!
//! 200 seeds are tried. `BOBBIN_SEED` replays one; `BOBBIN_FIRST_SEED` begins elsewhere than at 0;
//! after `BOBBIN_SECONDS` (300) no more is begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fake_kustomer::{
    Config, Fault, FaultRule, Hook, Matcher, Mutation, Pick, Span, Ties, TotalMode, When,
};

use crate::support::Bench;

/// How many organisations are tried.
const SEEDS: u64 = 200;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize].clone()
    }

    fn spans(&mut self, scale: u64) -> Vec<Span> {
        let mut at = -(self.roll(900) as i64 + 2) * 86_400_000;
        let mut spans = Vec::new();
        while at < -86_400_000 && spans.len() < 6 {
            let count = 1 + self.roll(scale);
            if self.roll(3) == 0 {
                // Created over some time, so that the instant can be told apart.
                let same_created = false;
                at += 3 * 86_400_000;
                spans.push(Span::Plateau {
                    count: 1 + count / 2,
                    at: When::relative(at),
                    same_created,
                });
                at += 1 + self.roll(86_400_000 * 5) as i64;
            } else {
                let to = (at + 1 + self.roll(86_400_000 * 200) as i64).min(-3_600_000);
                spans.push(Span::Uniform {
                    count,
                    from: When::relative(at),
                    to: When::relative(to),
                });
                at = to + 1;
            }
        }
        spans
    }

    fn mutation(&mut self, stream: &str) -> Mutation {
        let most = [1, 10, 300][self.roll(3) as usize];
        let pick = match self.roll(3) {
            0 => Pick::Oldest(1 + self.roll(most)),
            1 => Pick::Newest(1 + self.roll(most)),
            _ => Pick::Random(1 + self.roll(most)),
        };
        match self.roll(6) {
            0 => Mutation::Add {
                stream: if stream == "kobject" { "kobject_ecomm-order" } else { stream }.to_owned(),
                count: 1 + self.roll(40),
                set: None,
            },
            1 => Mutation::Delete { stream: stream.to_owned(), pick, soft: true, bump: true },
            _ => Mutation::update(stream, pick),
        }
    }
}

const SEARCHED: [&str; 5] = ["customer", "conversation", "message", "note", "kobject_ecomm-order"];

fn organisation(dice: &mut Dice, seed: u64) -> Config {
    let mut config = Config::tiny(seed);
    for stream in ["customer", "conversation", "note"] {
        let spans = dice.spans(400);
        config.spans.insert(stream.to_owned(), spans);
    }
    let spans = dice.spans(4_000);
    config.spans.insert("message".to_owned(), spans);
    config.search.ties = dice.one(&[Ties::Stable, Ties::Unstable]);
    config.search.total = dice.one(&[TotalMode::Exact, TotalMode::Exact, TotalMode::Bounded]);
    config.search.max_rows = dice.one(&[10_000, 1_000, 500]);
    config.search.max_lag_ms = dice.one(&[0, 0, 30_000]);
    if dice.roll(2) == 0 {
        let stream = dice.one(&["conversation", "message"]);
        config.hooks.push(Hook {
            on: Matcher::on("search", stream),
            requests: 1 + dice.roll(6),
            every: dice.one(&[None, Some(1), Some(3)]),
            advance_ms: dice.roll(2_000) as i64,
            mutations: vec![dice.mutation(stream)],
        });
    }
    if dice.roll(3) > 0 {
        let mut faults: Vec<Fault> = Fault::transient();
        faults.retain(|fault| {
            !matches!(
                fault,
                Fault::RemainingZero | Fault::Status { status: 429, .. } | Fault::TimedOut { .. }
            )
        });
        faults.extend([
            Fault::DuplicateInPage,
            Fault::DuplicateAcrossPages,
            Fault::Unsorted,
            Fault::WrongTotal { by: 3 },
            Fault::ShrinkingTotal { by: 2 },
            Fault::NextMissing,
            Fault::NextLoop,
            Fault::RepeatPage,
            Fault::Bom,
        ]);
        let part = dice.one(&[0.02, 0.1, 0.3]);
        config = config.with_fault(FaultRule::random(part, dice.roll(1 << 40), faults));
        let mut searched = FaultRule::random(
            part,
            dice.roll(1 << 40),
            vec![Fault::TimedOut { keep: 1 }, Fault::MissingRows { count: 2 }],
        );
        searched.on.endpoint = Some("search".to_owned());
        config = config.with_fault(searched);
    }
    config
}

fn try_seed(seed: u64) {
    let mut dice = Dice(seed);
    let config = organisation(&mut dice, seed);
    let (cap, lag) = (config.search.max_rows, config.search.max_lag_ms);
    let mut bench = Bench::new(config)
        .set("window_cap", cap)
        .set("page_size_limit", dice.one(&[500, 100, 37]))
        .set("start_date", dice.one(&["2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]));
    let from = bench.settings["start_date"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for _ in 0..3 {
        let ran = bench.run();
        if let Err(error) = &ran.outcomes {
            assert!(error.is_transient(), "{}", error.report());
        }
        bench.compare_from(from.as_millisecond());
        bench.sim.control().advance(120_000 + dice.roll(86_400_000) as i64);
        for _ in 0..dice.roll(4) {
            let stream = dice.one(&SEARCHED);
            let mutation = dice.mutation(stream);
            bench.sim.control().mutate(&mutation).unwrap();
            bench.sim.control().advance(dice.roll(10_000) as i64);
        }
    }
    bench.sim.control().clear_faults();
    bench.sim.control().advance(3_600_000 + lag as i64);
    let ran = bench.run();
    ran.all_complete();
    bench.compare_from(from.as_millisecond());
}

#[test]
fn whatever_the_weather_nothing_is_lost() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    if let Some(seed) = number("BOBBIN_SEED") {
        return try_seed(seed);
    }
    let until = Instant::now() + Duration::from_secs(number("BOBBIN_SECONDS").unwrap_or(300));
    let first = number("BOBBIN_FIRST_SEED").unwrap_or(0);
    let next = AtomicU64::new(first);
    let tried = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < until {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + SEEDS {
                        break;
                    }
                    if let Err(panic) = std::panic::catch_unwind(|| try_seed(seed)) {
                        println!("replay with BOBBIN_SEED={seed}");
                        next.store(first + SEEDS, Ordering::Relaxed);
                        std::panic::resume_unwind(panic);
                    }
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let tried = tried.into_inner();
    println!("{tried} seeds");
    assert!(tried > 0);
}
