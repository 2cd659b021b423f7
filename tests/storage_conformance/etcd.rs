//! The etcd backend against a real etcd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use verbatim::storage::etcd::{EtcdOptions, EtcdStore, Pem};
use verbatim::storage::{Error, Storage, WatchMessage};

use super::check_all;
use super::common::etcd::{self, Etcd};

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions {
        endpoints: vec![etcd.endpoint().to_owned()],
        ..EtcdOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_conforms() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(options(&etcd)).await.expect("connect");
    check_all(store).await;
}

#[tokio::test]
async fn a_lost_etcd_is_told() {
    let etcd = Etcd::start();
    let options = EtcdOptions {
        request_timeout: Duration::from_millis(500),
        ..options(&etcd)
    };
    let store = EtcdStore::connect(options.clone()).await.expect("connect");
    let mut watch = store.watch("/a/", 0).await.expect("watch");
    drop(etcd);
    loop {
        match watch.recv().await.expect("a watch says why it ends") {
            WatchMessage::Failed(error) => {
                assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                break;
            }
            WatchMessage::Progress(_) => {}
            WatchMessage::Events(events) => panic!("unexpected {events:?}"),
        }
    }
    let read = store.get("/a/a").await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let written = store.create("/a/a", Bytes::new(), None).await;
    assert!(
        matches!(written, Err(Error::Unavailable { .. } | Error::Uncertain)),
        "{written:?}"
    );
    let again = EtcdStore::connect(options).await.map(|_| ());
    assert!(matches!(again, Err(Error::Unavailable { .. })), "{again:?}");
}

#[tokio::test]
async fn a_full_etcd_is_told() {
    let flags = ["--quota-backend-bytes", "2097152"];
    let etcd = Etcd::start_binary(&etcd::binary(), &flags);
    let store = EtcdStore::connect(options(&etcd)).await.expect("connect");
    let value = Bytes::from(vec![b'x'; 256 * 1024]);
    for n in 0..100 {
        let key = format!("/a/{n}");
        match store.create(&key, value.clone(), None).await {
            Ok(_) => {}
            Err(Error::NoSpace) => return,
            Err(other) => panic!("unexpected {other:?}"),
        }
    }
    panic!("25 MiB fit into 2");
}

/// A directory with `ca.crt`, `server.*` and `client.*`.
fn certificates(dir: &Path) {
    let write = |name: &str, text: String| {
        std::fs::write(dir.join(name), text).expect("write a certificate");
    };
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("key");
    write("ca.crt", ca.self_signed(&ca_key).expect("sign").pem());
    let issuer = Issuer::new(ca, ca_key);
    for name in ["server", "client"] {
        let names = vec!["127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("valid names");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("key");
        let cert = params.signed_by(&key, &issuer).expect("sign");
        write(&format!("{name}.crt"), cert.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

#[tokio::test]
async fn certificates_are_shown_and_checked() {
    let dir = tempfile::tempdir().expect("temporary directory");
    certificates(dir.path());
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let [ca, cert, key] =
        ["ca.crt", "server.crt", "server.key"].map(|name| file(name).display().to_string());
    let flags = [
        "--client-cert-auth",
        "--trusted-ca-file",
        &ca,
        "--cert-file",
        &cert,
        "--key-file",
        &key,
    ];
    let etcd = Etcd::start_binary(&etcd::binary(), &flags);
    let secure = EtcdOptions {
        ca: Some(Pem::File(file("ca.crt"))),
        cert: Some(Pem::File(file("client.crt"))),
        key: Some(Pem::File(file("client.key"))),
        request_timeout: Duration::from_secs(2),
        ..options(&etcd)
    };
    let store = EtcdStore::connect(secure.clone()).await.expect("connect");
    let written = store.create("/a/a", Bytes::new(), None).await;
    written.expect("write over TLS");
    for (cert, key) in [(None, None), (secure.cert.clone(), None)] {
        let refused = EtcdOptions {
            cert,
            key,
            ..secure.clone()
        };
        let refused = EtcdStore::connect(refused).await.map(|_| ());
        assert!(refused.is_err(), "connected without a client certificate");
    }
}
