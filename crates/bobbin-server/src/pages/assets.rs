//! What pages need beside their text: one style, a little script, two libraries. All of it is in the
//! program; its names change with its bytes, so that browsers keep it for ever.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::visit::takes_gzip;
use crate::problem::Problem;
use crate::token;

/// Where they are.
pub(super) const ROOT: &str = "/assets/";

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static [u8],
    packed: Vec<u8>,
    address: String,
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        ($name, $kind, include_bytes!(concat!("../../assets/", $name)).as_slice())
    };
}

const FILES: [(&str, &str, &[u8]); 8] = [
    asset!("bobbin.css", "text/css"),
    asset!("bobbin.js", "text/javascript"),
    asset!("htmx.min.js", "text/javascript"),
    asset!("log.js", "text/javascript"),
    asset!("sse.js", "text/javascript"),
    asset!("uplot.min.js", "text/javascript"),
    asset!("uplot.min.css", "text/css"),
    asset!("icon.svg", "image/svg+xml"),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let made = FILES.into_iter().map(|(name, kind, text)| {
        let hash = token::hex(&Sha256::digest(text));
        let (stem, end) = name.split_once('.').unwrap_or((name, ""));
        let address = format!("{ROOT}{stem}-{}.{end}", &hash[..12]);
        Asset { name, kind, text, packed: packed(text, 9), address }
    });
    made.collect()
});

/// The address of an asset.
pub(super) fn address(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.address.as_str())
}

/// Makes a text small.
pub(super) fn packed(text: &[u8], level: u32) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::with_capacity(text.len() / 3), Compression::new(level));
    // Memory takes everything.
    let _ = out.write_all(text);
    out.finish().unwrap_or_default()
}

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let mut all = ASSETS.iter();
    let Some(asset) = all.find(|asset| asset.address[ROOT.len()..] == *name) else {
        return Problem::not_found("page").into_response();
    };
    let gzip = takes_gzip(&headers);
    let text = if gzip { asset.packed.clone() } else { asset.text.to_vec() };
    let mut response = text.into_response();
    let kept = "public, max-age=31536000, immutable";
    for (name, value) in [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, kept),
        (header::VARY, "accept-encoding"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if gzip {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    response
}
