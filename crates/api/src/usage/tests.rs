use super::*;

fn usage(second: i64, load: f64) -> Arc<Usage> {
    let values = [(Series::of(Metric::LoadOne), load)].into();
    Arc::new(Usage { at: Timestamp::from_second(second).unwrap(), values })
}

#[tokio::test]
async fn who_listens_is_told_and_a_failure_is_a_gap() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let mut news = usages.on_usage();
    usages.took(&web, &usage(1, 0.5), None);
    assert_eq!(news.recv().await.unwrap(), News { device: web.clone(), usage: usage(1, 0.5) });
    usages.failed(&web, Timestamp::from_second(31).unwrap(), "no answer".into());
    usages.failed(&web, Timestamp::from_second(61).unwrap(), "no route".into());
    let last = usages.last(&web).unwrap();
    assert_eq!((last.usage.unwrap(), last.problem.as_str()), (usage(1, 0.5), "no route"));
    assert_eq!(last.failing_since, Timestamp::from_second(31).ok());
    assert!(news.try_recv().is_err(), "a gap is no news");
    usages.took(&web, &usage(91, 0.7), None);
    assert_eq!(usages.last(&web).unwrap().problem, "");
    // Probes stay beside what is read, whichever comes first.
    usages.probe_took(&web, "http", Timestamp::from_second(92).unwrap(), &[(Metric::ProbeSeconds, 0.25)]);
    usages.took(&web, &usage(121, 0.8), None);
    let latest = usages.latest(&web).unwrap();
    assert_eq!(latest.values[&Series::item(Metric::ProbeSeconds, "http")], 0.25);
    assert_eq!(latest.values[&Series::of(Metric::LoadOne)], 0.8);
    usages.forget(&web);
    assert!(usages.latest(&web).is_none());
}

/// One reading gives way to the other only when it says nothing about now any more.
#[test]
fn logs_and_readings_stand_beside_each_other() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let mut news = usages.on_usage();
    let logs = |second: i64, lines: f64| {
        let at = Timestamp::from_second(second).unwrap();
        Arc::new(Usage { at, values: BTreeMap::from([(Series::of(Metric::LogLines), lines)]) })
    };
    let seen = |metric| usages.latest(&web).unwrap().values.get(&Series::of(metric)).copied();
    let at = || usages.latest(&web).unwrap().at.as_second();
    usages.logged(&web, &logs(60, 1.0));
    assert_eq!((seen(Metric::LogLines), at()), (Some(1.0), 60), "a device that only sends lines");
    usages.took(&web, &usage(70, 0.5), None);
    assert_eq!((seen(Metric::LogLines), seen(Metric::LoadOne), at()), (Some(1.0), Some(0.5), 70));
    usages.logged(&web, &logs(120, 2.0));
    assert_eq!((seen(Metric::LogLines), seen(Metric::LoadOne), at()), (Some(2.0), Some(0.5), 70), "as old as it is");
    usages.probe_took(&web, "http", Timestamp::from_second(125).unwrap(), &[(Metric::ProbeSeconds, 0.25)]);
    usages.logged(&web, &logs(420, 3.0));
    assert_eq!((seen(Metric::LogLines), seen(Metric::LoadOne), at()), (Some(3.0), None, 420), "it is not read any more");
    usages.took(&web, &usage(800, 0.7), None);
    assert_eq!((seen(Metric::LogLines), seen(Metric::LoadOne), at()), (None, Some(0.7), 800), "lines come no more");
    usages.logged(&web, &logs(4000, 4.0));
    usages.took(&web, &usage(830, 0.6), None);
    assert_eq!((seen(Metric::LogLines), seen(Metric::LoadOne), at()), (None, Some(0.6), 830), "the clock was set back");
    let told = std::iter::from_fn(|| news.try_recv().ok()).map(|news| (news.usage.at.as_second(), news.usage.values.len()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(60, 1), (70, 1), (120, 1), (125, 1), (420, 1), (800, 1), (4000, 1), (830, 1)],
        "each value once"
    );
}

/// A probe that passed long ago says nothing about now beside a new reading, and an old reading nothing beside a new probe.
#[test]
fn probes_and_readings_are_as_old_as_they_are() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let took = |probe: &str, second: i64| {
        usages.probe_took(&web, probe, Timestamp::from_second(second).unwrap(), &[(Metric::ProbeSeconds, 0.25)]);
    };
    let seen = || {
        let latest = usages.latest(&web).unwrap();
        let values: Vec<String> = latest.values.keys().map(ToString::to_string).collect();
        (latest.at.as_second(), values.join(" "))
    };
    took("http", 0);
    took("ping", 200);
    assert_eq!(seen(), (200, "probes[http].seconds probes[ping].seconds".into()));
    took("ping", 400);
    assert_eq!(seen(), (400, "probes[ping].seconds".into()), "one fails, the other passes");
    usages.took(&web, &usage(450, 0.5), None);
    assert_eq!(seen(), (450, "load.one probes[ping].seconds".into()));
    usages.took(&web, &usage(1000, 0.5), None);
    assert_eq!(seen(), (1000, "load.one".into()));
    took("ping", 1200);
    assert_eq!(seen(), (1000, "load.one probes[ping].seconds".into()));
    took("ping", 1301);
    assert_eq!(seen(), (1301, "probes[ping].seconds".into()), "it is not read any more");
}

/// A run that fails says how much was lost; how long the last one took that passed is as old as it is.
#[test]
fn what_a_failed_run_found_stands_beside_what_the_last_good_one_took() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let says = |second: i64, said: &[(Metric, f64)]| usages.probe_took(&web, "ping", Timestamp::from_second(second).unwrap(), said);
    let seen = |metric| usages.latest(&web).unwrap().values.get(&Series::item(metric, "ping")).copied();
    let at = |metric| usages.last(&web).unwrap().at(&Series::item(metric, "ping")).unwrap().as_second();
    says(0, &[(Metric::ProbeSeconds, 0.01)]);
    says(0, &[(Metric::ProbeLoss, 0.0), (Metric::ProbeRtt, 0.01)]);
    says(15, &[(Metric::ProbeLoss, 0.75), (Metric::ProbeRtt, 0.02)]);
    assert_eq!((seen(Metric::ProbeSeconds), seen(Metric::ProbeLoss), seen(Metric::ProbeRtt)), (Some(0.01), Some(0.75), Some(0.02)));
    assert_eq!((at(Metric::ProbeSeconds), at(Metric::ProbeLoss)), (0, 15));
    says(30, &[(Metric::ProbeLoss, 1.0)]);
    assert_eq!((seen(Metric::ProbeLoss), seen(Metric::ProbeRtt)), (Some(1.0), None), "nothing came back");
    says(301, &[(Metric::ProbeLoss, 1.0)]);
    assert_eq!((seen(Metric::ProbeSeconds), seen(Metric::ProbeLoss)), (None, Some(1.0)), "it did not pass for too long");
}

#[test]
fn who_listens_too_slowly_misses_some() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let news = usages.on_usage();
    for second in 0..WAITING as i64 + 3 {
        usages.took(&web, &usage(second, 0.5), None);
    }
    assert_eq!(usages.missed(), 3);
    drop(news);
    usages.took(&web, &usage(0, 0.5), None);
    assert_eq!(usages.missed(), 3, "who listens no more misses nothing");
}

/// What others have read is shown; what is read here takes its place.
#[tokio::test]
async fn what_others_have_read_is_only_shown() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let (mut news, mut anywhere) = (usages.on_usage(), usages.on_usage_anywhere());
    let far = |second| Last { usage: Some(usage(second, 0.5)), ..Last::default() };
    usages.far(&web, far(1));
    usages.far(&web, far(2));
    usages.far(&web, far(2));
    let heard: Vec<i64> = std::iter::from_fn(|| anywhere.try_recv().ok()).map(|news| news.usage.at.as_second()).collect();
    assert_eq!(heard, [1, 2], "who asks for it hears of each once");
    assert_eq!((usages.latest(&web), news.try_recv().is_err()), (Some(usage(2, 0.5)), true));
    usages.failed(&web, Timestamp::from_second(3).unwrap(), "no answer".into());
    assert_eq!(usages.latest(&web), None, "nothing was read here yet");
    usages.far(&web, far(4));
    assert_eq!(usages.last(&web).unwrap().problem, "no answer", "what is read here counts");
    usages.keep_far(|_| false);
    assert_eq!(usages.len(), 1);
    usages.forget(&web);
    usages.far(&web, far(5));
    usages.keep_far(|_| false);
    assert!(usages.is_empty());
}

/// Lines of log come to the one who plans, also of devices that others read.
#[test]
fn a_line_of_log_here_keeps_what_others_have_read() {
    let (usages, web) = (Usages::default(), Name::parse("web-01"));
    let far = |second| Last { usage: Some(usage(second, 0.5)), ..Last::default() };
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let logs = |second: i64| Arc::new(Usage { at: at(second), values: [(Series::of(Metric::LogLines), 3.0)].into() });
    let seen = || {
        let value = |metric| usages.latest(&web).unwrap().values.get(&Series::of(metric)).copied();
        (value(Metric::LoadOne), value(Metric::LogLines), usages.latest(&web).unwrap().at.as_second())
    };
    usages.logged(&web, &logs(60));
    usages.far(&web, far(70));
    assert_eq!((seen(), usages.last(&web).unwrap().is_far()), ((Some(0.5), Some(3.0), 70), true), "lines came first");
    usages.logged(&web, &logs(120));
    assert_eq!(seen(), (Some(0.5), Some(3.0), 70));
    usages.far(&web, far(130));
    assert_eq!(seen(), (Some(0.5), Some(3.0), 130), "the newer one, and the lines");
    usages.failed(&web, at(140), "no answer".into());
    usages.far(&web, far(150));
    assert_eq!((seen(), usages.last(&web).unwrap().is_far()), ((None, Some(3.0), 120), false), "it is read here from now on");
}

/// None is left out: nobody could judge it.
#[test]
fn of_each_device_the_last_is_kept() {
    let usages = Usages::default();
    let names: Vec<Name> = (0..60_000).map(|number| Name::parse(&format!("d{number}"))).collect();
    names.iter().for_each(|name| usages.took(name, &usage(1, 1.0), None));
    assert!(usages.len() == 60_000 && names.iter().all(|name| usages.latest(name).is_some()));
    names.iter().for_each(|name| usages.forget(name));
    assert!(usages.is_empty(), "and of those that left nothing");
}

#[test]
fn values_are_shown_for_people() {
    for (unit, value, expected) in [
        (Unit::Ratio, 0.4256, "42.6 %"),
        (Unit::Bytes, 0.0, "0 B"),
        (Unit::Bytes, 1_610_612_736.0, "1.5 GiB"),
        (Unit::BytesPerSecond, 125_000.0, "122.1 KiB/s"),
        (Unit::Seconds, 0.0123, "12.3 ms"),
        (Unit::Seconds, 273_600.0, "3d 4h"),
        (Unit::Seconds, 7260.0, "2h 1m"),
        (Unit::Count, 4.0, "4"),
        (Unit::Count, 0.5, "0.50"),
        (Unit::Bytes, 1e18, "888.2 PiB"),
    ] {
        assert_eq!(shown(unit, value), expected);
    }
}
