//! The domain capabilities document, as libvirt writes it (manual: "Domain capabilities XML format").

use std::fmt::{Result as Written, Write as _};

use polyvirt_core::{Choice, CpuModes, CustomModel, DomainCaps, Facility, Fact, HostModel, OsCaps};

use crate::capabilities::escape;

/// The document, indented by two.
#[must_use]
pub fn domain_capabilities_xml(caps: &DomainCaps) -> String {
    let mut out = Document::default();
    // Writing into a string cannot fail.
    let _ = out.all(caps);
    out.text
}

#[derive(Default)]
struct Document {
    text: String,
    depth: usize,
}

fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

impl Document {
    fn line(&mut self, line: &str) -> Written {
        writeln!(self.text, "{:1$}{line}", "", self.depth * 2)
    }

    fn leaf(&mut self, name: &str, text: &str) -> Written {
        self.line(&format!("<{name}>{}</{name}>", escape(text)))
    }

    /// An element with what `inside` writes; empty if it writes nothing.
    fn element(&mut self, name: &str, attributes: &str, inside: impl FnOnce(&mut Self) -> Written) -> Written {
        let start = self.text.len();
        self.line(&format!("<{name}{attributes}>"))?;
        let body = self.text.len();
        self.depth += 1;
        inside(self)?;
        self.depth -= 1;
        if self.text.len() == body {
            self.text.truncate(start);
            return self.line(&format!("<{name}{attributes}/>"));
        }
        self.line(&format!("</{name}>"))
    }

    fn all(&mut self, caps: &DomainCaps) -> Written {
        self.element("domainCapabilities", "", |out| {
            if let Some(path) = &caps.emulator {
                out.leaf("path", &path.display().to_string())?;
            }
            out.leaf("domain", &caps.virttype)?;
            if let Some(machine) = &caps.machine {
                out.leaf("machine", machine)?;
            }
            out.leaf("arch", &caps.arch)?;
            if let Some(max) = caps.max_vcpus {
                out.line(&format!("<vcpu max='{max}'/>"))?;
            }
            out.line(&format!("<iothreads supported='{}'/>", yes(caps.iothreads)))?;
            out.os(&caps.os)?;
            out.cpu(&caps.cpu)?;
            out.facility(&caps.memory_backing)?;
            out.element("devices", "", |out| caps.devices.iter().try_for_each(|it| out.facility(it)))?;
            out.element("features", "", |out| caps.features.iter().try_for_each(|it| out.facility(it)))
        })
    }

    fn values<T: AsRef<str>>(&mut self, values: &[T]) -> Written {
        values.iter().try_for_each(|it| self.leaf("value", it.as_ref()))
    }

    fn choice(&mut self, choice: &Choice) -> Written {
        self.element("enum", &format!(" name='{}'", choice.name), |out| out.values(&choice.values))
    }

    fn facility(&mut self, facility: &Facility) -> Written {
        self.element(facility.name, &format!(" supported='{}'", yes(facility.supported)), |out| {
            facility.choices.iter().try_for_each(|it| out.choice(it))?;
            facility.facts.iter().try_for_each(|it| out.fact(it))
        })
    }

    fn fact(&mut self, fact: &Fact) -> Written {
        let attributes: String =
            fact.attributes.iter().map(|(name, value)| format!(" {name}='{}'", escape(value))).collect();
        match &fact.text {
            Some(text) => self.line(&format!("<{0}{attributes}>{1}</{0}>", fact.name, escape(text))),
            None => self.element(fact.name, &attributes, |out| fact.facts.iter().try_for_each(|it| out.fact(it))),
        }
    }

    fn os(&mut self, os: &OsCaps) -> Written {
        self.element("os", " supported='yes'", |out| {
            out.element("enum", " name='firmware'", |out| out.values(&os.firmware))?;
            out.element("loader", " supported='yes'", |out| {
                out.values(&os.images)?;
                os.loader.iter().try_for_each(|it| out.choice(it))
            })
        })
    }

    fn mode(&mut self, name: &str, supported: bool, inside: impl FnOnce(&mut Self) -> Written) -> Written {
        self.element("mode", &format!(" name='{name}' supported='{}'", yes(supported)), inside)
    }

    fn cpu(&mut self, cpu: &CpuModes) -> Written {
        let migratable = |name: &'static str, words: Option<&Vec<&'static str>>| {
            words.map(|it| Choice::new(name, it.iter().copied()))
        };
        let passthrough = migratable("hostPassthroughMigratable", cpu.host_passthrough.as_ref());
        let maximum = migratable("maximumMigratable", cpu.maximum.as_ref());
        self.element("cpu", "", |out| {
            for (mode, choice) in [("host-passthrough", passthrough), ("maximum", maximum)] {
                out.mode(mode, choice.is_some(), |out| choice.iter().try_for_each(|it| out.choice(it)))?;
            }
            out.mode("host-model", cpu.host_model.is_some(), |out| {
                cpu.host_model.iter().try_for_each(|it| out.host_model(it))
            })?;
            out.mode("custom", cpu.custom.is_some(), |out| {
                cpu.custom.iter().flatten().try_for_each(|it| out.custom(it))
            })
        })
    }

    fn host_model(&mut self, it: &HostModel) -> Written {
        let fallback = if it.fallback { "allow" } else { "forbid" };
        self.line(&format!("<model fallback='{fallback}'>{}</model>", escape(&it.model)))?;
        if let Some(vendor) = &it.vendor {
            self.leaf("vendor", vendor)?;
        }
        it.features.iter().try_for_each(|it| {
            let policy = if it.required { "require" } else { "disable" };
            self.line(&format!("<feature policy='{policy}' name='{}'/>", escape(&it.name)))
        })
    }

    fn custom(&mut self, it: &CustomModel) -> Written {
        let usable = it.usable.map_or("unknown", yes);
        let deprecated = if it.deprecated { " deprecated='yes'" } else { "" };
        let vendor = escape(it.vendor.as_deref().unwrap_or("unknown"));
        let canonical = it.canonical.as_ref().map(|it| format!(" canonical='{}'", escape(it))).unwrap_or_default();
        let name = escape(&it.name);
        self.line(&format!("<model usable='{usable}'{deprecated} vendor='{vendor}'{canonical}>{name}</model>"))?;
        if it.blockers.is_empty() {
            return Ok(());
        }
        self.element("blockers", &format!(" model='{name}'"), |out| {
            it.blockers.iter().try_for_each(|it| out.line(&format!("<feature name='{}'/>", escape(it))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said_and_what_is_has_its_words() {
        let mut caps = DomainCaps::new("kvm", "x86_64");
        caps.emulator = Some("/opt/q&a".into());
        caps.max_vcpus = Some(8);
        caps.cpu.maximum = Some(vec!["on", "off"]);
        let blocked = CustomModel { usable: Some(false), blockers: vec!["hle".into()], ..CustomModel::default() };
        caps.cpu.custom = Some(vec![
            CustomModel { name: "b".into(), deprecated: true, canonical: Some("b-v1".into()), ..blocked },
            CustomModel { name: "max".into(), ..CustomModel::default() },
        ]);
        caps.devices = vec![
            Facility::with("tpm", false, vec![Choice::new("model", ["tpm-tis"])]),
            Facility::with("rng", true, vec![Choice::new("model", Vec::<String>::new())]),
        ];
        let section = Fact { name: "section", attributes: vec![("node", "0".into())], ..Fact::default() };
        let mut sgx = Facility::new("sgx", true);
        sgx.facts = vec![Fact::new("flc", "no"), Fact { name: "sections", facts: vec![section], ..Fact::default() }];
        caps.features = vec![sgx];
        assert_eq!(domain_capabilities_xml(&caps), include_str!("../tests/data/domain-capabilities.xml"));
    }
}
