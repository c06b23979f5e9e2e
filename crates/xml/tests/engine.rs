//! The engine against documents of every kind: what is read, what is printed, what is refused and where.

#![expect(clippy::unwrap_used, reason = "a test: every failure is a panic with its cause")]

use polyvirt_xml::{Element, FormatOptions, Limits, ParseOptions, Problems, Severity, Unknown, XmlTree, words};
use proptest::prelude::*;

words! {
    /// Buses.
    pub enum Bus { Ide = "ide", Virtio = "virtio" }
}

/// A place.
#[derive(Clone, Debug, PartialEq, Element)]
#[xml(tag = "type")]
pub enum Place {
    /// PCI.
    #[xml("pci")]
    Pci(Pci),
    /// A drive.
    #[xml("drive")]
    Drive(Drive),
}

impl Default for Place {
    fn default() -> Self {
        Self::Pci(Pci::default())
    }
}

/// PCI.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Pci {
    /// The slot.
    #[xml(attr, hex = 2)]
    pub slot: Option<u32>,
}

/// A drive.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Drive {
    /// The unit.
    #[xml(attr)]
    pub unit: u32,
}

/// One of two elements.
#[derive(Clone, Debug, PartialEq, Element)]
pub enum Step {
    /// A wait.
    #[xml("wait")]
    Wait(Wait),
    /// A key.
    #[xml("key")]
    Key(Key),
}

impl Default for Step {
    fn default() -> Self {
        Self::Wait(Wait::default())
    }
}

/// A wait.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Wait {
    /// Seconds.
    #[xml(attr)]
    pub seconds: Option<u32>,
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Key {
    /// Its name.
    #[xml(text)]
    pub name: String,
}

/// Shared attributes.
#[derive(Clone, Debug, Default, PartialEq, Element)]
pub struct Options {
    /// Whether it is fast.
    #[xml(attr, onoff)]
    pub fast: Option<bool>,
    /// A note.
    #[xml(leaf)]
    pub note: Option<String>,
}

/// A thing with everything.
#[derive(Clone, Debug, Default, PartialEq, Element)]
#[xml(root = "thing")]
pub struct Thing {
    /// Its name.
    #[xml(leaf)]
    pub name: String,
    /// Its bus.
    #[xml(attr)]
    pub bus: Option<Bus>,
    /// Whether it is quiet.
    #[xml(attr, yesno)]
    pub quiet: Option<bool>,
    /// Options.
    #[xml(group)]
    pub options: Options,
    /// Arguments.
    #[xml(leaf, name = "arg")]
    pub args: Vec<String>,
    /// A flag.
    #[xml(flag)]
    pub readonly: bool,
    /// Where it is.
    #[xml(child, name = "address")]
    pub place: Option<Place>,
    /// Steps in order.
    #[xml(choice)]
    pub steps: Vec<Step>,
    /// Another thing.
    #[xml(child)]
    pub inner: Option<Box<Thing>>,
    /// Raw.
    #[xml(tree)]
    pub metadata: Option<XmlTree>,
    /// Foreign.
    #[xml(foreign)]
    pub foreign: Vec<XmlTree>,
}

const FULL: &str = "\
<thing bus='virtio' quiet='yes' fast='on' xmlns:q='urn:q'>
  <name>a&lt;b</name>
  <note>n</note>
  <arg>1</arg>
  <arg/>
  <readonly/>
  <address type='drive' unit='3'/>
  <key>ctrl</key>
  <wait seconds='2'/>
  <key>c</key>
  <inner>
    <name>i</name>
    <address type='pci' slot='0x1f'/>
  </inner>
  <metadata>
    <m:x xmlns:m='urn:m' k='v&apos;'>text</m:x>
  </metadata>
  <q:cmd a='1'>
    <q:arg/>
  </q:cmd>
</thing>
";

fn parse(text: &str) -> Result<Thing, Problems> {
    Thing::from_xml(text, &ParseOptions::default()).map(|parsed| parsed.config)
}

fn print(thing: &Thing) -> String {
    thing.to_xml_with(FormatOptions::new())
}

/// The first error of a refused document.
fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn every_kind_of_field_reads_and_prints() {
    let parsed = Thing::from_xml(FULL, &ParseOptions::with_unknown(Unknown::Reject)).unwrap();
    assert!(parsed.warnings.is_empty());
    let thing = parsed.config;
    assert_eq!(thing.name, "a<b");
    assert_eq!(thing.options.fast, Some(true));
    assert_eq!(thing.args, ["1", ""]);
    assert_eq!(thing.place, Some(Place::Drive(Drive { unit: 3 })));
    assert_eq!(thing.steps.len(), 3);
    assert_eq!(thing.foreign[0].namespace.as_deref(), Some("urn:q"));
    assert_eq!(print(&thing), FULL);
}

#[test]
fn the_serde_form_is_equal() {
    let thing = parse(FULL).unwrap();
    let json = serde_json::to_value(&thing).unwrap();
    assert_eq!(json["quiet"], true);
    assert_eq!(json["inner"]["place"], serde_json::json!({ "type": "pci", "slot": 31 }));
    assert_eq!(json["steps"][1], serde_json::json!({ "wait": { "seconds": 2 } }));
    assert_eq!(serde_json::from_value::<Thing>(json).unwrap(), thing);
}

#[test]
fn serde_errors_name_the_path() {
    let error = serde_json::from_str::<Thing>(r#"{"name":"a","inner":{"name":"b","bsu":"ide"}}"#).unwrap_err();
    assert_eq!(error.to_string(), "/inner/bsu: 'bsu' is not known here; did you mean 'bus'?");
    assert!(serde_json::from_str::<Thing>("{}").unwrap_err().to_string().contains("'name' is missing"));
    assert!(serde_json::from_str::<Thing>(r#"{"name":1.5}"#).is_err());
}

#[test]
fn built_and_parsed_are_equal() {
    let built = Thing::new("a<b").with_bus(Bus::Virtio).with_args("1").with_place(Drive::new(3_u32));
    let parsed = parse(&print(&built)).unwrap();
    assert_eq!(built, parsed);
}

#[test]
fn all_problems_come_at_once_with_positions() {
    let text = "<thing bus='vrtio' quiet='no'>\n  <address type='drvie'/>\n  <inner>\n    <address type='pci' slot='x'/>\n  </inner>\n</thing>";
    let problems = parse(text).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "/thing/@bus, line 1 column 13: 'vrtio' is not one of 'ide', 'virtio'; did you mean 'virtio'?",
            "/thing/address/@type, line 2 column 18: 'drvie' is not one of 'pci', 'drive'; did you mean 'drive'?",
            "/thing/inner/address/@slot, line 4 column 31: 'x' is not a whole number",
            "/thing/inner, line 3 column 3: <inner> lacks its element <name>",
            "/thing, line 1 column 1: <thing> lacks its element <name>",
        ]
    );
}

#[test]
fn a_misspelt_choice_is_told_from_a_missing_one() {
    let shown = |attributes: &str| {
        parse(&format!("<thing><name>a</name><address {attributes}/></thing>")).unwrap_err().to_string()
    };
    let lacks = "/thing/address, line 1 column 22: <address> lacks its attribute 'type', one of pci, drive";
    assert_eq!(shown("slot='0x1'"), lacks);
    let misspelt =
        "/thing/address/@tpye, line 1 column 31: attribute 'tpye' is not known on <address>; did you mean 'type'?";
    assert_eq!(shown("tpye='pci'"), format!("{lacks}\n{misspelt}"));
}

#[test]
fn unknown_input_is_dropped_refused_or_kept() {
    let text = "<thing bsu='1'><name>a</name><inner><name>i</name><reaonly/></inner></thing>";
    let parsed = Thing::from_xml(text, &ParseOptions::default()).unwrap();
    let shown: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "/thing/@bsu, line 1 column 8: attribute 'bsu' is not known on <thing>; did you mean 'bus'?");
    assert!(shown[1].ends_with("element <reaonly> is not known in <inner>; did you mean 'readonly'?"), "{}", shown[1]);
    assert!(parsed.warnings.iter().all(|problem| problem.severity == Severity::Warning));

    let refused = Thing::from_xml(text, &ParseOptions::with_unknown(Unknown::Reject)).unwrap_err();
    assert_eq!(refused.errors().count(), 2);

    let kept = Thing::from_xml(text, &ParseOptions::with_unknown(Unknown::Keep)).unwrap();
    let printed = kept.kept.put_back(&print(&kept.config)).unwrap();
    assert_eq!(XmlTree::parse(&printed).unwrap(), XmlTree::parse(text).unwrap());
}

#[test]
fn positions_are_found_by_path() {
    let positions = Thing::from_xml(FULL, &ParseOptions::default()).unwrap().positions;
    let at = |path: &str| positions.find(path).map(|position| (position.line, position.column));
    assert_eq!(at("/thing/@bus"), Some((1, 13)));
    assert_eq!(at("/thing/arg[2]"), Some((5, 3)));
    assert_eq!(at("/thing/inner/address/@slot"), Some((13, 31)));
    assert_eq!(at("/thing/name"), Some((2, 9)));
    assert_eq!(at("/thing/arg[3]"), None);
    // What is missing is reported at the nearest element around it.
    assert_eq!(positions.error("/thing/inner/bus", "m").line, Some(11));
    assert_eq!(polyvirt_xml::Positions::default().error("/thing", "m").line, None);
}

#[test]
fn repeated_elements_count_once() {
    let parsed = Thing::from_xml("<thing><name>a</name><name>b</name></thing>", &ParseOptions::default()).unwrap();
    assert_eq!(parsed.config.name, "a");
    assert_eq!(parsed.warnings.to_string(), "/thing/name[2], line 1 column 22: a second <name>, only the first counts");
}

#[test]
fn malformed_documents_are_refused_with_their_place() {
    let cases = [
        ("", "there is no element"),
        ("  ", "there is no element"),
        ("<thing><name>a</nmae></thing>", "line 1 column 15: </nmae> closes <name> of line 1"),
        ("<thing>\n<name>", "<name> is never closed"),
        ("</thing>", "closes nothing"),
        ("<thing/><thing/>", "column 9: a second root element"),
        ("<thing><name>a</name></thing>x", "column 30: text outside"),
        ("<thing bus='ide' bus='ide'/>", "column 18: attribute 'bus' is given twice"),
        ("<thing bus=ide/>", "malformed"),
        ("<thing bus='<'/>", "write &lt;"),
        ("<thing bus='&x;'/>", "'&x;' is not known"),
        ("<thing><name>&#0;</name></thing>", "'&#0;' is not known"),
        ("<thing><name>&#xD800;</name></thing>", "is not known"),
        ("<thing><name>a\u{1}</name></thing>", "column 15: a control character"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><thing/>", "document type"),
        ("<?xml version='1.0' encoding='latin1'?><thing/>", "encoding 'latin1'"),
        ("<q:thing/>", "expected <thing>"),
        ("<thing xmlns='urn:x'/>", "expected <thing>"),
        ("<thnig/>", "did you mean 'thing'"),
        ("<thing><q:x/></thing>", "the prefix 'q' is not declared"),
        ("<thing", ""),
        ("<thing><![CDATA[", ""),
        ("<1/>", "is no element name"),
    ];
    for (text, expected) in cases {
        let shown = refusal(text);
        assert!(shown.contains(expected), "{text}: {shown}");
    }
}

#[test]
fn text_is_joined_over_references_and_cdata() {
    let thing = parse("<thing><name>a&amp;<![CDATA[<&]]>&#x41;\r\nb</name></thing>").unwrap();
    assert_eq!(thing.name, "a&<&A\nb");
    assert_eq!(parse(&print(&thing)).unwrap(), thing);
}

#[test]
fn trees_keep_mixed_content_and_their_namespaces() {
    let mixed = "<m a='&gt;\"'>one <b>two</b> <i/>&lt;th<!-- no -->ree&gt; </m>";
    let tree = XmlTree::parse(mixed).unwrap();
    assert_eq!((tree.text.as_str(), tree.children[1].tail.as_str()), ("one ", "<three> "));
    assert_eq!(XmlTree::parse(&tree.to_string()).unwrap(), tree);
    let text = "<thing xmlns:q='urn:1'><name>a</name><q:x/><q:y xmlns:q='urn:2'/></thing>";
    let thing = parse(text).unwrap();
    assert_eq!(thing.foreign[1].namespace.as_deref(), Some("urn:2"));
    assert_eq!(parse(&print(&thing)).unwrap(), thing);
}

#[test]
fn bounds_hold() {
    let limits = |change: fn(&mut Limits)| {
        let mut options = ParseOptions::default();
        change(&mut options.limits);
        options
    };
    let refused = |text: &str, options: &ParseOptions| Thing::from_xml(text, options).unwrap_err().to_string();
    let deep = "<inner>".repeat(100_000);
    assert!(refused(&format!("<thing>{deep}"), &ParseOptions::default()).contains("nested deeper than 64"));
    let wide = (0..200).map(|i| format!(" a{i}=''")).collect::<String>();
    assert!(refused(&format!("<thing{wide}/>"), &ParseOptions::default()).contains("more than 128 attributes"));
    assert!(refused("<thing/>", &limits(|l| l.bytes = 4)).contains("the limit is 4"));
    let long = format!("<thing><name>{}</name></thing>", "x".repeat(2 << 20));
    assert!(refused(&long, &ParseOptions::default()).contains("the limit is 1048576"));
    assert!(
        refused(&format!("<thing>{}</thing>", "<x/>".repeat(50)), &limits(|l| l.elements = 9)).contains("more than 9")
    );
    let prefixes = (0..100).map(|i| format!(" xmlns:p{i}=''")).collect::<String>();
    let declared = format!("<thing>{}</thing>", format!("<x{prefixes}/>").repeat(11));
    assert!(refused(&declared, &ParseOptions::default()).contains("more than 1024 declarations of namespaces"));
    // Problems are bounded too.
    let many = format!("<thing><name>a</name>{}</thing>", "<x/>".repeat(50_000));
    let options = ParseOptions::with_unknown(Unknown::Reject);
    assert!(Thing::from_xml(&many, &options).unwrap_err().len() <= 202);
}

/// Entities that double thirty times over, an attribute of 4 GiB, a name that never ends: refused by what they are, before
/// anything is allocated for what they would become.
#[test]
fn bombs_are_refused_before_they_grow() {
    let doubling =
        |name: char, of: char| format!("<!ENTITY {name} '&{of};&{of};&{of};&{of};&{of};&{of};&{of};&{of};'>");
    let laughs: String = ('b'..='z').zip('a'..).map(|(name, of)| doubling(name, of)).collect();
    let bomb = format!("<!DOCTYPE thing [<!ENTITY a 'ha'>{laughs}]><thing><name>&z;</name></thing>");
    assert!(refusal(&bomb).contains("document type"), "{}", refusal(&bomb));
    assert!(refusal("<thing><name>&z;</name></thing>").contains("'&z;' is not known"));
    // The length decides: the text is not looked at, nor does it have to be there.
    let long = vec![b'x'; Limits::default().bytes + 1];
    assert!(polyvirt_xml::decode(&long, &Limits::default()).unwrap_err().message.contains("the limit is 16777216"));
    let attribute = format!("<thing bus='{}'/>", "x".repeat((1 << 20) + 1));
    assert!(refusal(&attribute).contains("column 13: a value of 1048577 bytes, the limit is 1048576"));
    let name = format!("<{}>", "x".repeat(1 << 22));
    assert!(refusal(&name).len() < 20_000_000, "never more than the input");
}

#[test]
fn namespaces_gone_wrong_are_refused() {
    for (text, expected) in [
        ("<thing xmlns:q='urn:q' xmlns:q='urn:r'><name>a</name></thing>", "attribute 'xmlns:q' is given twice"),
        ("<thing><name>a</name><q:x/></thing>", "the prefix 'q' is not declared"),
        (
            "<thing><name>a</name><inner xmlns:q='urn:q'><name>i</name></inner><q:x/></thing>",
            "the prefix 'q' is not declared",
        ),
        ("<thing xmlns:='urn:q'><name>a</name></thing>", "'xmlns:' is no attribute name"),
        ("<thing><name>a</name><:x/></thing>", "':x' is no element name"),
        ("<thing><name>a</name><a:b:c/></thing>", "'a:b:c' is no element name"),
        ("<thing><name>a</name><q:x xmlns:q=''/></thing>", "the prefix 'q' is not declared"),
        ("<thing xmlns='urn:x' xmlns:q='urn:q'><name>a</name></thing>", "without a namespace"),
    ] {
        assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
    }
}

#[test]
fn text_before_children_keeps_its_white_space() {
    let text = "<thing><name>a</name></thing>";
    assert_eq!(parse(&print(&parse(text).unwrap())).unwrap(), parse(text).unwrap());
}

#[test]
fn other_encodings_are_refused() {
    let limits = Limits::default();
    let utf16 = |order: fn(u16) -> [u8; 2]| "\u{FEFF}<a/>".encode_utf16().flat_map(order).collect::<Vec<u8>>();
    for bytes in [utf16(u16::to_le_bytes), utf16(u16::to_be_bytes), b"\0<\0a".to_vec(), b"<\0a\0".to_vec()] {
        assert!(polyvirt_xml::decode(&bytes, &limits).unwrap_err().message.contains("UTF-16"), "{bytes:?}");
    }
    for encoding in ["latin1", "ISO-8859-1", "UTF-16", "utf-7", "windows-1252", ""] {
        let text = format!("<?xml version='1.0' encoding='{encoding}'?><thing><name>a</name></thing>");
        assert!(
            refusal(&text).contains(&format!("encoding '{encoding}' is not read")),
            "{encoding}: {}",
            refusal(&text)
        );
    }
    assert!(parse("<?xml version='1.0' encoding='Utf-8'?><thing><name>a</name></thing>").is_ok());
    assert_eq!(polyvirt_xml::decode(b"\xEF\xBB\xBF<a/>", &limits), Ok("<a/>"));
    assert!(polyvirt_xml::decode(b"\xFF\xFE<\0a\0", &limits).unwrap_err().message.contains("UTF-16"));
    let error = polyvirt_xml::decode(b"<a>\n\xE4</a>", &limits).unwrap_err();
    assert_eq!((error.line, error.column), (Some(2), Some(1)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "(<|>|/|'|\"|=|&|;|thing|name|inner|arg|bus|a|:|xmlns|!|\\[|\\]|--|\\?| |\n|ä){0,60}") {
        let _ = parse(&text);
        let _ = XmlTree::parse(&text);
    }

    #[test]
    fn mutated_documents_never_panic(at in 0..FULL.len(), with in "[<>/'a&: ]{0,3}", cut in 0..20_usize) {
        let mut text = FULL.to_owned();
        text.replace_range(at..(at + cut).min(FULL.len()), &with);
        if let Ok(thing) = parse(&text) {
            let again = parse(&print(&thing));
            prop_assert_eq!(again.unwrap(), thing);
        }
    }

    #[test]
    fn any_text_survives(name in "\\PC{0,20}", note in "[ -~äöü\t\n\r<>&'\"]{0,20}", key in "[a\n\t'\"&<]{0,8}") {
        let mut thing = Thing::new(name.as_str());
        thing.options.note = Some(note);
        let mut tree = XmlTree::new("x");
        tree.attributes.push(("k".to_owned(), key));
        thing.metadata = Some({ let mut metadata = XmlTree::new("metadata"); metadata.children.push(tree); metadata });
        prop_assert_eq!(parse(&print(&thing)).unwrap(), thing);
    }
}
