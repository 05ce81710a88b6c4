use super::*;

/// A log as a job writes it.
#[derive(Default)]
struct Told {
    view: JobView,
}

impl Told {
    fn line(&mut self, second: u32, event: &str) -> &mut Self {
        let (minute, second) = (second / 60, second % 60);
        let at = format!("2026-05-01T16:{minute:02}:{second:02}Z");
        self.view.take(&event.replacen('}', &format!(",\"at\":\"{at}\"}}"), 1).replace('\'', "\""));
        self
    }

    fn window(&mut self, hours: (u32, u32), numbers: (&str, u64), verified: bool) -> &mut Self {
        let (from, to) = hours;
        let (expected, received) = numbers;
        // Windows begin a millisecond after the one before.
        let event = format!(
            "{{'event':'window','stream':'notes','from':'2026-01-01T{from:02}:00:00.001Z',\
             'to':'2026-01-01T{to:02}:00:00Z','expected':{expected},'received':{received},\
             'calls':1,'verified':{verified}}}"
        );
        self.line(1, &event)
    }

    fn extracted(&mut self, records: u64) -> &mut Self {
        self.line(
            1,
            &format!("{{'event':'extracted','stream':'notes','records':{records},'bytes':9}}"),
        )
    }

    fn sealed(&mut self, number: u64, records: u64) -> &mut Self {
        let text = "{'event':'sealed','stream':'notes','records':RECORDS,'bytes':9,'segment':{'job':'j','number':NUMBER}";
        let text =
            text.replace("RECORDS", &records.to_string()).replace("NUMBER", &number.to_string());
        let at = ",'at':'2026-05-01T16:00:01Z'}";
        self.view.take(&format!("{text}{at}").replace('\'', "\""));
        self
    }

    fn loaded(&mut self, number: u64, rows: u64) -> &mut Self {
        let text = "{'event':'loaded','stream':'notes','rows':ROWS,'rejected':0,'segment':{'job':'j','number':NUMBER}";
        let text = text.replace("ROWS", &rows.to_string()).replace("NUMBER", &number.to_string());
        self.view.take(&format!("{text},'at':'2026-05-01T16:00:02Z'}}").replace('\'', "\""));
        self
    }

    fn began(&mut self) -> &mut Self {
        self.line(
            0,
            "{'event':'stream_started','stream':'notes','from':'2026-01-01T00:00:00.001Z','until':'2026-01-01T08:00:00.001Z'}",
        )
    }

    /// The first letter of each of eight cells, an hour each.
    fn strip(&self) -> String {
        let table = &self.view.tables[0];
        let part = table.from.zip(table.until).unwrap_or_default();
        let stretches = self.view.strip(table, part, 8);
        let letters =
            stretches.iter().map(|stretch| stretch.coverage.word()[..1].repeat(stretch.cells));
        letters.collect()
    }
}

#[test]
fn f104_each_part_of_time_is_shown_as_far_as_it_is() {
    let mut told = Told::default();
    told.began();
    assert_eq!(told.strip(), "pppppppp");
    told.extracted(10).window((0, 2), ("10", 10), true);
    told.extracted(5).window((2, 4), ("null", 5), true);
    told.extracted(7).window((4, 5), ("9", 7), false);
    assert_eq!(told.strip(), "vvffippp");
    // Of the second segment it is not known that it is durable, so what it holds is not.
    told.sealed(1, 10).sealed(2, 12).loaded(1, 10);
    assert_eq!(told.strip(), "llffippp");
    told.loaded(2, 12);
    assert_eq!(told.strip(), "llllippp", "what is durable stays incomplete");
    told.line(3, "{'event':'stream_ended','stream':'notes','outcome':'incomplete','reason':'x'}");
    assert_eq!(told.strip(), "lllliiii", "what was not reached is missing");
}

#[test]
fn what_is_loaded_in_another_order_is_shown_once_everything_before_it_is() {
    let mut told = Told::default();
    told.began().extracted(10).window((0, 4), ("10", 10), true);
    told.sealed(3, 5).sealed(4, 5).loaded(4, 5);
    assert_eq!(told.strip(), "vvvvpppp");
    told.loaded(3, 5);
    assert_eq!(told.strip(), "llllpppp");
}

#[test]
fn a_table_without_windows_is_complete_as_a_whole() {
    let mut told = Told::default();
    told.line(0, "{'event':'stream_started','stream':'notes','from':null,'until':null}");
    let whole = |told: &Told| told.view.whole(&told.view.tables[0]);
    assert_eq!(whole(&told), Coverage::Planned);
    told.extracted(3)
        .line(2, "{'event':'stream_ended','stream':'notes','outcome':'complete','reason':null}");
    assert_eq!(whole(&told), Coverage::Fetched);
    told.sealed(1, 3);
    assert_eq!(whole(&told), Coverage::Fetched);
    told.line(3, "{'event':'job_ended','outcome':'complete','error':null}");
    assert_eq!(whole(&told), Coverage::Fetched, "nobody said that its segment is durable");
    told.loaded(1, 3);
    assert_eq!(whole(&told), Coverage::Loaded);
    // One that is loaded while the others go on is so at once.
    told.view.ended = None;
    assert_eq!(whole(&told), Coverage::Loaded);
}

/// However many windows there are, one whose numbers differ is drawn, and so is a gap.
#[test]
fn what_is_incomplete_is_never_merged_away() {
    let mut told = Told::default();
    let at =
        |second: u64| Timestamp::from_second(1_700_000_000 + second as i64).unwrap_or_default();
    let all = 3 * MOST_WINDOWS as u64;
    for n in 0..all {
        if n == 77_777 {
            continue; // A gap.
        }
        let (from, to) = (at(n), at(n + 1) - jiff::SignedDuration::from_millis(1));
        let verified = n != 33_333;
        told.line(0, &format!(
            "{{'event':'window','stream':'notes','from':'{from}','to':'{to}','expected':1,'received':1,'calls':1,'verified':{verified}}}"
        ));
    }
    let table = &told.view.tables[0];
    assert!(table.windows.len() <= MOST_WINDOWS, "{}", table.windows.len());
    let parts: u64 = table.windows.iter().map(|window| u64::from(window.parts)).sum();
    assert_eq!(parts, all - 1);
    let received: u64 = table.windows.iter().map(|window| window.received).sum();
    assert_eq!(received, all - 1);
    for cells in [1, 100, 480] {
        let strip = told.view.strip(table, (at(0), at(all)), cells);
        assert!(strip.iter().any(|stretch| stretch.coverage == Coverage::Incomplete), "{cells}");
        assert_eq!(strip.iter().map(|stretch| stretch.cells).sum::<usize>(), cells);
    }
    let near = told.view.strip(table, (at(77_770), at(77_785)), 15);
    assert_eq!(near[1], Stretch { first: 7, cells: 1, coverage: Coverage::Planned });
}

#[test]
fn the_budget_is_ours_others_and_free() {
    let mut told = Told::default();
    for second in 0..100 {
        let endpoint = if second % 2 == 0 { "POST /v1/customers/search" } else { "GET /v1/users" };
        told.line(
            second,
            &format!("{{'event':'call','stream':'notes','endpoint':'{endpoint}','usable':true}}"),
        );
    }
    told.line(99, "{'event':'rate_limit','bucket':'search','limit':100,'remaining':20}");
    told.line(99, "{'event':'rate_limit','bucket':'organisation','limit':1000,'remaining':990}");
    let budgets = &told.view.budgets;
    assert_eq!(budgets["search"], Budget { limit: 100, ours: 30, others: 50, free: 20 });
    assert_eq!(budgets["organisation"], Budget { limit: 1000, ours: 10, others: 0, free: 990 });
    assert_eq!((told.view.calls, told.view.tables[0].calls), (100, 100));
}

#[test]
fn the_time_left_follows_the_pace() {
    let mut told = Told::default();
    told.began().line(0, "{'event':'stream_total','stream':'notes','total':100}").extracted(25);
    let now: Timestamp = "2026-05-01T16:00:10Z".parse().unwrap_or_default();
    let left = told.view.tables[0].left_seconds(now);
    assert_eq!(left.map(f64::round), Some(30.0));
    assert_eq!(told.view.tables[0].share(), Some(0.25));
    // A second walk tells its own total.
    told.line(3, "{'event':'stream_total','stream':'notes','total':50}");
    assert_eq!(told.view.tables[0].total, Some(75));
    // Where there are more than were told, the time that is covered tells.
    told.extracted(75).window((0, 2), ("100", 100), true);
    assert_eq!(told.view.tables[0].share().map(|share| (share * 100.0).round()), Some(25.0));
}

#[test]
fn what_is_no_event_is_a_line_and_nothing_else() {
    let mut view = JobView::default();
    for text in
        ["", "no JSON", "{}", "{\"event\":\"window\",\"at\":\"2026-01-01T00:00:00Z\"}", "\u{0}"]
    {
        view.take(text);
    }
    assert_eq!((view.lines, view.tables.len()), (5, 0));
}
