//! What a device says about itself, what it is asked, and the token that it is enrolled by.
//! Holds: within its bounds; what is read is printed and read the same; no text has a character that a terminal obeys.
#![no_main]

use bartizan_fuzz::{sow, within};
use bartizan_posture::FactsWanted;
use bartizan_posture::report::{LARGEST, MOST_POLICIES, Report, ReportError};
use bartizan_posture::token::Token;
use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;

const REPORT: &str = r#"{"v":1,"device":{"uid":"lt-0421","hostname":"lt-0421.example","type":"laptop","is_managed":true,
"is_personal":false,"serial":"X1","owner":"alice"},"bind":{"session_id":"0707","hostkey_sha256":"0808","is_forwarding":false,
"boot_id":"b","seq":7},"collected_at":1795338716,"agent":{"version":"0.1.0","key":"file","facts":"own"},"facts":{"os_version":
[{"platform":"debian","version":"12"}],"disk_encryption":[{"name":"/dev/dm-0","encrypted":"1"}],"secureboot":[{"secure_boot":
"1"}],"screenlock":[{"enabled":"1","grace_period":"0"}],"firewall":[{"enabled":"1"}],"patches":[{"pending_security":"0",
"checked_at":"1795338000"}],"processes":[{"name":"falcon-sensor"}]},"policies":[{"id":12,"name":"Disk encrypted","response":
"pass","critical":true}]}"#;
const TOKEN: &str = r#"{"id":"0123abcd","secret":"0123456789abcdef","device":"lt-0421","owner":"alice","kind":"laptop","personal":false,
"host":"bastion.example","port":22,"host_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGX0ClJqFtS6uTaOpbUaZGGOjq+WeBmm8tPQWs6Rr/n"],
"host_ca":[],"names":["bastion"],"facts":["processes","firewall"],"processes":["falcon-sensor"]}"#;
const WANTED: &str = r#"{"facts":["processes","later"],"processes":["falcon-sensor"]}"#;

fuzz_target!(init: sow("report", [REPORT, TOKEN, WANTED].map(|text| text.as_bytes().to_vec())), |bytes: &[u8]| {
    // A table of rows takes some times what its JSON does.
    if let Ok(report) = within(32 * LARGEST, || Report::parse(bytes)) {
        assert!(bytes.len() <= LARGEST && report.policies.len() <= MOST_POLICIES);
        for text in [&report.device.uid, &report.device.hostname, &report.device.owner, &report.bind.boot_id] {
            assert!((1..=255).contains(&text.as_str().len()) && !text.as_str().contains(char::is_control));
        }
        assert!((1..=64).contains(&report.bind.session_id.bytes().len()));
        match report.to_json() {
            Ok(json) => {
                let again = Report::parse(json.as_bytes()).expect("what was printed is read");
                assert_eq!(again, report);
                assert_eq!(again.to_json().expect("and printed"), json);
            }
            // What was left out is written out.
            Err(ReportError::Large { size }) => assert!(size < LARGEST + 64 && bytes.len() > LARGEST - 64),
            Err(other) => panic!("a report that was read is not printed: {other}"),
        }
    }
    let coded = format!("bartizan1.{}", BASE64URL_NOPAD.encode(bytes));
    for text in [str::from_utf8(bytes).unwrap_or_default(), &coded] {
        if let Ok(token) = within(32 * LARGEST, || Token::parse(text)) {
            if let Ok(printed) = token.to_text() {
                assert!(Token::parse(&printed) == Ok(token));
            }
        }
        if let Ok(wanted) = within(32 * LARGEST, || FactsWanted::parse(text)) {
            assert!(wanted.processes.iter().chain(&wanted.unknown).all(|name| name.bytes().all(|b| b.is_ascii_graphic())));
            assert_eq!(FactsWanted::parse(&wanted.to_text()).as_ref(), Ok(&wanted));
        }
    }
});
