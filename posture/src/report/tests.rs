//! A report is read whole and strictly, or not at all.
//! It never takes a report with a byte too many.

use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"{"v":1,"device":{"uid":"lt-0421","hostname":"lt-0421.example","type":"laptop","is_managed":true,"is_personal":false,"serial":"PF3","owner":"alice"},"bind":{"session_id":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","hostkey_sha256":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","is_forwarding":false,"boot_id":"b","seq":91822},"collected_at":1795338716,"agent":{"version":"0.1.0","key":"file","facts":"own"},"facts":{"os_version":[{"platform":"debian","version":"12"}],"disk_encryption":[{"name":"/dev/dm-0","encrypted":"1"}],"secureboot":[{"secure_boot":"1"}],"screenlock":[{"enabled":"1","grace_period":"0"}],"firewall":[{"enabled":"1"}],"patches":[{"pending_security":"0","checked_at":"1795338000"}],"processes":[{"name":"falcon-sensor"}]},"policies":[{"id":12,"name":"Disk encrypted","response":"pass","critical":true}]}"#;

#[test]
fn a_report_is_written_as_it_was_read() {
    assert_eq!(Report::parse(WHOLE.as_bytes()).unwrap().to_json().unwrap(), WHOLE);
}

#[test]
fn a_report_that_is_not_to_the_letter_is_refused() {
    let wrong = [
        ("\"v\":1", "\"v\":2"),
        ("\"v\":1", "\"v\":1,\"v\":1"),
        ("\"v\":1", "\"v\":1,\"extra\":1"),
        ("\"v\":1,", ""),
        ("\"seq\":91822", "\"seq\":-1"),
        ("\"seq\":91822", "\"seq\":91822,\"more\":0"),
        ("\"seq\":91822", "\"seq\":\"91822\""),
        ("\"is_forwarding\":false", "\"is_forwarding\":\"false\""),
        ("\"key\":\"file\"", "\"key\":\"paper\""),
        ("\"encrypted\":\"1\"", "\"encrypted\":1"),
        ("\"response\":\"pass\"", "\"response\":\"perhaps\""),
        ("\"uid\":\"lt-0421\"", "\"uid\":\"lt\\u001b[2J\""),
    ];
    for (right, other) in wrong {
        let text = WHOLE.replacen(right, other, 1);
        assert_ne!(text, WHOLE, "{right}");
        assert!(Report::parse(text.as_bytes()).is_err(), "{other}");
    }
    assert!(Report::parse(format!("{WHOLE} x").as_bytes()).is_err());
    assert!(Report::parse(b"").is_err() && Report::parse(b"null").is_err() && Report::parse(b"[]").is_err());
}

#[test]
fn a_report_is_bounded() {
    let pad = " ".repeat(LARGEST - WHOLE.len());
    assert!(Report::parse(format!("{WHOLE}{pad}").as_bytes()).is_ok());
    assert!(matches!(
        Report::parse(format!("{WHOLE}{pad} ").as_bytes()),
        Err(ReportError::Large { size }) if size == LARGEST + 1
    ));
    let row = "{\"name\":\"falcon-sensor\"}";
    let rows = |count| WHOLE.replacen(row, &vec![row; count].join(","), 1);
    assert!(Report::parse(rows(MOST_ROWS).as_bytes()).is_ok());
    assert!(matches!(Report::parse(rows(MOST_ROWS + 1).as_bytes()), Err(ReportError::Rows { .. })));
    let policy = r#"{"id":12,"name":"Disk encrypted","response":"pass","critical":true}"#;
    let many = WHOLE.replacen(policy, &vec![policy; MOST_POLICIES + 1].join(","), 1);
    assert!(matches!(Report::parse(many.as_bytes()), Err(ReportError::Policies { .. })));
}

#[test]
fn nesting_a_million_deep_is_refused_and_not_followed() {
    assert!(Report::parse("[".repeat(LARGEST).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Report::parse(&bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_read_as_another_report(at in 0..WHOLE.len(), byte in any::<u8>()) {
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(report) = Report::parse(&bytes) {
            prop_assert_eq!(Report::parse(report.to_json().unwrap().as_bytes()).unwrap(), report);
        }
    }
}
