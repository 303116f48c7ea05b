//! The database's URL holds a password: nothing that is shown or logged does. Alone in its program, so that what is logged is its own.

#[path = "store/places.rs"]
mod places;
#[path = "store/postgres.rs"]
mod postgres;

use std::io::Write;
use std::sync::{Arc, Mutex};

use places::{entry, server, sqlite};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SECRET: &str = "hunter2-s3cret";

#[tokio::test]
async fn a_password_is_never_shown() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let mut urls = vec![
        format!("mysql://ada:{SECRET}@127.0.0.1/d"),
        format!("postgres://ada:{SECRET}@127.0.0.1:port/d"),
        format!("postgres://ada:{SECRET}@127.0.0.1:1/d"),
        format!("postgres://ada:{SECRET}@/%zz?sslmode=never"),
        format!("postgres://127.0.0.1:1/d?user=ada&password={SECRET}"),
        format!("postgres://127.0.0.1:1/d?pasword={SECRET}"),
        format!("postgres://127.0.0.1:1/d?{SECRET}=x"),
        format!("ada:{SECRET}@127.0.0.1/d"),
        SECRET.to_owned(),
    ];
    if let Some(server) = server() {
        urls.push(server.url("postgres", server.port).replace(&server.password, SECRET));
    }
    for url in urls {
        let mut place = sqlite();
        place.options.url = Some(url.clone());
        let error = place.refuses().await;
        let mut shown = format!("{:?} {error:?}", place.options);
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            shown += &error.to_string();
            source = error.source();
        }
        assert!(!shown.contains(SECRET), "{url}: {shown}");
    }

    // And where everything is fine.
    if let Some(place) = places::postgres().await {
        let store = place.open().await;
        store.log(vec![entry("apply", "device/web-01", "")]).await.unwrap();
        let password = &server().unwrap().password;
        assert!(!format!("{:?}", place.options).contains(password));
        assert!(!String::from_utf8_lossy(&lines.0.lock().unwrap()).contains(password));
    }
    drop(guard);
    let logged = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(logged.contains("audit_tree") || server().is_none(), "statements are logged at this level, so the log was seen");
    assert!(!logged.contains(SECRET), "{logged}");
}
