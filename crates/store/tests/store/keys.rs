//! `audit.key`, `audit.pub`, and whose log it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use store::Error;
use store::audit::checkpoint::{PublicKey, SigningKey};

use crate::places::{Place, entry, places, sqlite, verified};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn signed(place: &Place) {
    let store = place.open().await;
    store.log(vec![entry("apply", "device/web-01", "")]).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_new_key_is_its_owners_only() {
    let place = sqlite();
    let data = &place.options.data;
    let store = place.open().await;
    assert_eq!((mode(data), mode(&data.join("audit.key")), mode(&data.join("audit.pub"))), (0o700, 0o600, 0o644));
    let public = PublicKey::from_text(&fs::read_to_string(data.join("audit.pub")).unwrap()).unwrap();
    assert_eq!(public, store.public_key());
}

#[tokio::test]
async fn the_public_key_follows_from_the_key() {
    let place = sqlite();
    signed(&place).await;
    let public = place.options.data.join("audit.pub");
    let text = fs::read_to_string(&public).unwrap();
    fs::remove_file(&public).unwrap();
    signed(&place).await;
    assert_eq!(fs::read_to_string(&public).unwrap(), text);
    fs::write(&public, SigningKey::generate().public().to_text()).unwrap();
    signed(&place).await;
    assert_eq!(fs::read_to_string(&public).unwrap(), text);
}

#[tokio::test]
async fn another_key_does_not_go_on_with_the_log() {
    for place in places().await {
        // Even before anything was signed: who opened it first signs it.
        let signer = place.open().await.public_key().to_text();
        let id = signer.rsplit_once('+').unwrap().0;
        let key = place.options.data.join("audit.key");
        let right = fs::read(&key).unwrap();

        fs::write(&key, SigningKey::generate().to_text()).unwrap();
        let error = place.refuses().await;
        assert!(matches!(error, Error::OtherKey { .. }) && error.to_string().contains(id), "{}: {error}", place.name);
        fs::remove_file(&key).unwrap();
        let error = place.refuses().await;
        assert!(matches!(error, Error::OtherKey { .. }) && error.to_string().contains("no such file"), "{}: {error}", place.name);
        assert!(!key.exists(), "no new key in place of the lost one");
        assert_eq!((error.category(), error.is_transient()), ("key", false));

        fs::write(&key, right).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        signed(&place).await;
        assert_eq!(verified(&place.open().await).await, 1);
    }
}

#[tokio::test]
async fn a_key_that_lies_open_is_refused() {
    let place = sqlite();
    signed(&place).await;
    let key = place.options.data.join("audit.key");
    for (bits, fine) in [(0o644, false), (0o620, false), (0o604, false), (0o640, true), (0o400, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(bits)).unwrap();
        if fine {
            signed(&place).await;
        } else {
            let error = place.refuses().await;
            assert!(matches!(error, Error::KeyMode { mode, .. } if mode == bits), "{bits:o}: {error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let place = sqlite();
    signed(&place).await;
    let key = place.options.data.join("audit.key");
    let good = fs::read_to_string(&key).unwrap();
    for bad in [String::new(), good[..20].to_owned(), "not a key".into(), "A".repeat(10 << 20)] {
        fs::write(&key, &bad).unwrap();
        let error = place.refuses().await;
        assert!(matches!(error, Error::Key { .. }), "{error:?}");
        assert!(!format!("{error:?}{error}").contains(good.trim()));
    }
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(place.refuses().await, Error::File { .. }));
}
