use super::*;

fn secrets() -> Arc<Secrets> {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    Secrets::new(Client::try_from(config).unwrap())
}

fn read(value: &str) -> Option<Read> {
    let values = [("password".to_owned(), Zeroizing::new(value.as_bytes().to_vec()))];
    Some(Read { values: Arc::new(values.into()), is_for_receivers: false })
}

#[tokio::test]
async fn a_change_is_told_once_to_each_who_asks() {
    let secrets = secrets();
    let (one, other) = (Name::new("ours", "one"), Name::new("ours", "other"));
    secrets.keep(&one, read("a"));
    secrets.keep(&other, None);
    // What was read for the first time, and what is read again as it was, is no change.
    secrets.keep(&one, read("a"));
    assert_eq!(*secrets.turn.borrow(), 0);
    secrets.keep(&one, read("b"));
    let (turn, changed) = secrets.changed(0).await;
    assert_eq!((turn, changed), (1, vec![one.clone()]));
    let waiting = tokio::spawn({
        let secrets = secrets.clone();
        async move { secrets.changed(turn).await }
    });
    // One that was missing came, another one went.
    tokio::task::yield_now().await;
    secrets.keep(&other, read("c"));
    assert_eq!(waiting.await.unwrap(), (2, vec![other.clone()]));
    secrets.keep(&one, None);
    assert_eq!(secrets.changed(1).await, (3, vec![one, other]), "whoever was busy hears of each once");
}

/// Many ask at once; the first answer has it watched, it is rotated, and then an answer comes that is older.
#[tokio::test]
async fn an_answer_that_is_late_does_not_take_the_place_of_what_came_meanwhile() {
    let secrets = secrets();
    let place = Name::new("ours", "one");
    let asked = Some(Instant::now());
    assert!(secrets.keep_asked(&place, read("a"), asked) == read("a"));
    secrets.keep(&place, read("b"));
    assert!(secrets.keep_asked(&place, read("a"), asked) == read("b"));
    assert!(secrets.kept()[&place].read == read("b"));
    assert_eq!(secrets.turn(), 1);
    // Whoever asks now hears what is now.
    assert!(secrets.keep_asked(&place, None, Some(Instant::now())).is_none());
    assert!(secrets.kept()[&place].read.is_none());
}

#[tokio::test]
async fn no_more_than_so_many_are_watched_and_kept() {
    let secrets = secrets();
    let name = |number: usize| Name::new("ours", &format!("s-{number}"));
    for number in 0..KEPT + 10 {
        secrets.keep(&name(number), read("a"));
        secrets.watch(&name(number), "1".into());
    }
    let watched = |secrets: &Secrets| secrets.kept().values().filter(|kept| kept.is_watched()).count();
    assert_eq!(secrets.kept().len(), KEPT);
    assert_eq!(watched(&secrets), WATCHED);
    assert!(secrets.kept()[&name(0)].is_watched(), "those asked for first");
    // What nobody has asked for in a long time makes room.
    let Some(long_ago) = Instant::now().checked_sub(IDLE * 2) else { return };
    secrets.kept().get_mut(&name(7)).unwrap().asked = long_ago;
    secrets.watch(&name(KEPT), "1".into());
    assert!(secrets.kept()[&name(KEPT)].is_watched());
    assert!(!secrets.kept().contains_key(&name(7)));
    assert_eq!(watched(&secrets), WATCHED);
}

#[tokio::test]
async fn what_may_not_be_watched_is_read_again() {
    let secrets = secrets();
    let place = Name::new("ours", "one");
    secrets.keep(&place, read("a"));
    secrets.watch(&place, "1".into());
    if let Some(kept) = secrets.kept().get_mut(&place) {
        kept.watch = Watched::Not(Instant::now() + GOOD);
    }
    secrets.watch(&place, "1".into());
    assert!(!secrets.kept()[&place].is_watched(), "not at once");
    assert!(secrets.kept()[&place].is_known(), "it was read just now");
    if let (Some(kept), Some(before)) = (secrets.kept().get_mut(&place), Instant::now().checked_sub(FRESH)) {
        kept.at = before;
        assert!(!kept.is_known());
    }
}
