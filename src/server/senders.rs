//! Kubeconfigs for API servers that send their audit events here: what their
//! `--audit-webhook-config-file` takes.

use std::path::PathBuf;

use super::bootstrap::senders::user_of;
use super::options::ServerOptions;
use super::pki::{Pki, PkiError};
use super::wiring::server_address;
use crate::search::ingest::LISTS_PATH;

/// Writes `webhook-NAME.kubeconfig` below the data folder for each of `--webhook-clusters`, with a
/// client certificate of its own. A server whose certificates are somebody else's cannot make any;
/// it logs whose certificates are wanted.
pub(super) fn kubeconfigs(
    options: &ServerOptions,
    pki: Option<&Pki>,
) -> Result<Vec<(String, PathBuf)>, PkiError> {
    let mut files = Vec::new();
    for cluster in &options.collect.clusters {
        let user = user_of(cluster);
        let url = format!("https://{}{LISTS_PATH}/{cluster}", server_address(options));
        let Some(pki) = pki else {
            tracing::info!(%url, %user, "an API server sends its audit events there, with a client certificate of that user");
            continue;
        };
        let (certificate, key) = pki.ensure_client(&user)?;
        let file = options
            .data_dir
            .join(format!("webhook-{cluster}.kubeconfig"));
        pki.write_client_kubeconfig(&file, &url, &user, &certificate, &key)?;
        files.push((cluster.clone(), file));
    }
    Ok(files)
}
