//! Tasks of this workspace.
