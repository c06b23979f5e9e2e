//! Connection URIs: parse → format → parse.

use polyvirt_core::{ConnectUri, URI_LIMIT};

/// What is printed reads back to the same parts.
pub(crate) fn fixed_point(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let uri: ConnectUri = match text.parse() {
        Ok(uri) => uri,
        Err(error) => {
            let error: polyvirt_core::UriError = error;
            return assert!(!error.to_string().is_empty());
        }
    };
    let printed = uri.to_string();
    // Escapes are longer than what they stand for, and the form is canonical, not short.
    if printed.len() > URI_LIMIT {
        return;
    }
    let again: ConnectUri = match printed.parse() {
        Ok(again) => again,
        Err(error) => {
            let error: polyvirt_core::UriError = error;
            panic!("'{text}' prints as '{printed}': {error}");
        }
    };
    // The query is kept as it was written; its parameters are what it means.
    let parts = |uri: &ConnectUri| {
        let mut uri = uri.clone();
        uri.query = None;
        uri
    };
    assert_eq!(parts(&again), parts(&uri), "'{text}' prints as '{printed}'");
    assert_eq!(again.to_string(), printed);
    assert_eq!((again.driver(), again.transport()), (uri.driver(), uri.transport()));
}
