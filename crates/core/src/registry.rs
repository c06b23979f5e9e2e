//! Which drivers and services this program has.

use crate::{
    ConnectUri, DriverDescriptor, Error, ErrorKind, Registration, Result, ServiceDescriptor, ServiceRegistration,
};

/// The drivers of a program, sorted by name, at most one per URI scheme, and its services, at most one of a name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    drivers: Vec<&'static DriverDescriptor>,
    services: Vec<&'static ServiceDescriptor>,
}

impl Registry {
    /// No drivers.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// All drivers and services that were linked into this program with `use … as _`.
    ///
    /// # Errors
    /// `AlreadyExists` when two of them claim one name or scheme; the message names both.
    pub fn linked() -> Result<Self> {
        let mut found: Vec<_> = inventory::iter::<Registration>.into_iter().map(|r| r.0).collect();
        found.sort_by_key(|d| d.name);
        let mut registry = Self::empty();
        for driver in found {
            registry.add(driver)?;
        }
        for service in inventory::iter::<ServiceRegistration> {
            registry.add_service(service.0)?;
        }
        Ok(registry)
    }

    /// Adds a driver: the explicit path, for tests and platforms without life before `main`.
    ///
    /// # Errors
    /// `AlreadyExists` when another driver has its name or one of its schemes.
    pub fn add(&mut self, driver: &'static DriverDescriptor) -> Result<()> {
        for other in &self.drivers {
            if other.name == driver.name {
                let message = format!(
                    "two drivers are named '{}', versions {} and {}",
                    driver.name, other.version, driver.version
                );
                return Err(Error::new(ErrorKind::AlreadyExists, message).hint("link one of them only"));
            }
            if let Some(scheme) = driver.schemes.iter().find(|s| other.schemes.contains(s)) {
                let message = format!("the drivers '{}' and '{}' both answer {scheme}://", other.name, driver.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message).hint("link one of them only"));
            }
        }
        let at = self.drivers.partition_point(|d| d.name < driver.name);
        self.drivers.insert(at, driver);
        Ok(())
    }

    /// Adds a service.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one of that name.
    pub fn add_service(&mut self, service: &'static ServiceDescriptor) -> Result<()> {
        if self.services.iter().any(|other| other.name == service.name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("two services are named '{}'", service.name))
                .hint("link one of them only"));
        }
        self.services.push(service);
        Ok(())
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &[&'static ServiceDescriptor] {
        &self.services
    }

    /// The drivers, sorted by name.
    #[must_use]
    pub fn drivers(&self) -> &[&'static DriverDescriptor] {
        &self.drivers
    }

    /// The driver of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&'static DriverDescriptor> {
        self.drivers.iter().copied().find(|d| d.name == name)
    }

    /// The driver for a URI.
    ///
    /// # Errors
    /// `NotFound` with the list of what is linked.
    pub fn for_uri(&self, uri: &ConnectUri) -> Result<&'static DriverDescriptor> {
        let scheme = uri.driver();
        self.drivers.iter().copied().find(|d| d.schemes.contains(&scheme)).ok_or_else(|| {
            let linked: Vec<_> = self.drivers.iter().flat_map(|d| d.schemes).map(|s| format!("{s}://")).collect();
            let linked = if linked.is_empty() { "none".to_owned() } else { linked.join(", ") };
            Error::new(
                ErrorKind::NotFound,
                format!("no driver for {scheme}:// is linked into this program; linked are: {linked}"),
            )
            .hint("check the spelling of the URI, or use a build that has the driver")
        })
    }

    /// Compares what is linked with the roster that a distribution expects.
    ///
    /// # Errors
    /// `Internal` naming what is missing or too much: a driver that is listed as a dependency but never mentioned registers nothing.
    pub fn expect(&self, roster: &[&str]) -> Result<()> {
        let have: Vec<_> = self.drivers.iter().map(|d| d.name).collect();
        let missing: Vec<_> = roster.iter().filter(|name| !have.contains(name)).copied().collect();
        let surplus: Vec<_> = have.iter().filter(|name| !roster.contains(name)).copied().collect();
        if missing.is_empty() && surplus.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the drivers of this build are not those it names: missing [{}], not named [{}]",
            missing.join(", "),
            surplus.join(", ")
        );
        Err(Error::new(ErrorKind::Internal, message)
            .hint("mention each driver crate with `use … as _` where the roster stands"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxFuture, OpenContext, Opened, ProbeContext, ProbeResult};

    fn probe(_: &ProbeContext) -> ProbeResult {
        ProbeResult::Usable(String::new())
    }
    fn open(_: OpenContext) -> BoxFuture<Opened> {
        Box::pin(async { Err(Error::new(ErrorKind::Unsupported, "only a name")) })
    }
    const fn named(name: &'static str, schemes: &'static [&'static str]) -> DriverDescriptor {
        DriverDescriptor {
            name,
            summary: "",
            version: "1",
            schemes,
            capabilities: &[],
            honours: &[],
            needs_attendant: &[],
            settings: &[],
            offline: None,
            probe,
            open,
        }
    }
    static ONE: DriverDescriptor = named("one", &["one", "uno"]);
    static TWO: DriverDescriptor = named("two", &["two"]);
    static RIVAL: DriverDescriptor = named("rival", &["uno"]);

    #[test]
    fn sorted_and_found_by_scheme() {
        let mut registry = Registry::empty();
        registry.add(&TWO).unwrap();
        registry.add(&ONE).unwrap();
        assert_eq!(registry.drivers().iter().map(|d| d.name).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(registry.for_uri(&"uno+ssh://h/".parse().unwrap()).unwrap().name, "one");
        let miss = registry.for_uri(&"xen:///".parse().unwrap()).unwrap_err().to_string();
        assert!(miss.contains("one://, uno://, two://"), "{miss}");
    }

    #[test]
    fn two_for_one_scheme_are_refused_by_name() {
        let mut registry = Registry::empty();
        registry.add(&ONE).unwrap();
        let error = registry.add(&RIVAL).unwrap_err().to_string();
        assert!(error.contains("'one'") && error.contains("'rival'") && error.contains("uno://"), "{error}");
    }

    #[test]
    fn roster() {
        let mut registry = Registry::empty();
        registry.add(&ONE).unwrap();
        assert!(registry.expect(&["one"]).is_ok());
        let error = registry.expect(&["two"]).unwrap_err().to_string();
        assert!(error.contains("missing [two]") && error.contains("not named [one]"), "{error}");
    }
}
