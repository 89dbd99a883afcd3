//! Servers that want to know who is there: tokens, users, TLS and client certificates.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use livedex_query::{NatsConfig, NatsError, connect};
use livedex_testkit::{servers::environment, wait::until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// A nats-server with a configuration of its own, killed on drop.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    async fn start(dir: &Path, name: &str, settings: &str) -> Result<Self> {
        let dir = dir.join(name);
        fs::create_dir(&dir)?;
        let file = dir.join("nats.conf");
        fs::write(&file, settings)?;
        let child = Command::new(environment()?.bin().join("nats-server"))
            .args(["--addr", "127.0.0.1", "--port", "-1"])
            .arg("--config")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let ports = dir.join(format!("nats-server_{}.ports", child.id()));
        let mut server = Self { child, port: 0 };
        server.port = until("nats-server writes its port", Duration::from_secs(10), || async {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let port = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|json| json["nats"][0].as_str()?.rsplit(':').next()?.parse().ok());
            Ok(port.ok_or(text))
        })
        .await?;
        Ok(server)
    }

    fn config(&self) -> NatsConfig {
        NatsConfig {
            url: format!("nats://localhost:{}", self.port),
            connect_timeout: Duration::from_secs(5),
            ..NatsConfig::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Certificates of a test, in PEM files.
struct Certificates {
    ca: PathBuf,
    other_ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn new(dir: &Path) -> Result<Self> {
        let write = |name: &str, pem: String| {
            let path = dir.join(name);
            fs::write(&path, pem).map(|()| path)
        };
        let authority = || {
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        let issuer = authority()?;
        let key = KeyPair::generate()?;
        // One certificate for both sides: nobody here looks at its purpose.
        let cert =
            CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        Ok(Self {
            ca: write("ca.pem", issuer.pem())?,
            other_ca: write("other-ca.pem", authority()?.pem())?,
            cert: write("cert.pem", cert.pem())?,
            key: write("key.pem", key.serialize_pem())?,
        })
    }
}

async fn error(config: &NatsConfig) -> NatsError {
    connect(config).await.map(drop).unwrap_err()
}

pub(crate) async fn tokens_and_users() -> Result<()> {
    let dir = TempDir::new()?;
    let server = Server::start(dir.path(), "token", "authorization { token: hunter2 }").await?;
    let with_token = |token: &str| NatsConfig { token: Some(token.into()), ..server.config() };
    connect(&with_token("hunter2")).await?;
    for config in [server.config(), with_token("wrong")] {
        let found = error(&config).await;
        ensure!(matches!(found, NatsError::Refused { .. }), "{found:?}");
        ensure!(!found.to_string().contains("wrong"), "{found}");
    }

    let settings = "authorization { user: bob, password: hunter2 }";
    let server = Server::start(dir.path(), "user", settings).await?;
    let with_password = |password: &str| NatsConfig {
        user: Some("bob".into()),
        password: Some(password.into()),
        ..server.config()
    };
    connect(&with_password("hunter2")).await?;
    ensure!(matches!(error(&with_password("wrong")).await, NatsError::Refused { .. }));
    Ok(())
}

pub(crate) async fn tls() -> Result<()> {
    let dir = TempDir::new()?;
    let certificates = Certificates::new(dir.path())?;
    let settings = |verify: bool| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: {verify} }}",
            certificates.cert, certificates.key, certificates.ca
        )
    };
    let server = Server::start(dir.path(), "tls", &settings(false)).await?;
    let trusting = |ca: &Path| NatsConfig {
        tls_required: true,
        tls_ca_file: Some(ca.to_owned()),
        ..server.config()
    };
    connect(&trusting(&certificates.ca)).await?;
    let found = error(&trusting(&certificates.other_ca)).await;
    ensure!(matches!(found, NatsError::Tls { .. }), "{found:?}");
    ensure!(found.to_string().contains("nats.tls"), "{found}");

    let server = Server::start(dir.path(), "mutual", &settings(true)).await?;
    let mut config = NatsConfig {
        tls_ca_file: Some(certificates.ca.clone()),
        tls_cert_file: Some(certificates.cert.clone()),
        tls_key_file: Some(certificates.key.clone()),
        ..server.config()
    };
    connect(&config).await?;
    (config.tls_cert_file, config.tls_key_file) = (None, None);
    let found = error(&config).await;
    ensure!(!found.to_string().contains('\n'), "{found}");
    Ok(())
}
