//! The shared domain model, in libvirt's XML.
