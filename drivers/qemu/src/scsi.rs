//! Units of the host's SCSI buses.

use std::{fs, path::Path};

/// Where Linux lists them; see `Documentation/scsi/scsi-generic.rst`.
const DEVICES: &str = "/sys/bus/scsi/devices";

/// The generic device node of a unit, `host:bus:target:unit`; `None` if there is none. Reads one folder of sysfs.
pub(crate) fn generic(unit: &str) -> Option<String> {
    // Part of a path.
    if !unit.bytes().all(|it| it.is_ascii_digit() || it == b':') {
        return None;
    }
    let folder = Path::new(DEVICES).join(unit).join("scsi_generic");
    let name = fs::read_dir(folder).ok()?.flatten().next()?.file_name();
    Some(format!("/dev/{}", name.to_str()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_that_leave_the_folder_find_nothing() {
        for unit in ["..", "0:0:0:0/../..", "", "999999:0:0:0"] {
            assert_eq!(super::generic(unit), None, "{unit}");
        }
    }
}
