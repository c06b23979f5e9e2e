//! One description per XML type: positions, diagnostics, parser, formatter.
