//! The derive behind polyvirt-xml.
