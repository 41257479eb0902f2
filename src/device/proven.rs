//! A device that has proven itself: what is on record of it, what it said, and at which levels the bundle sees it.
//! It never keeps a level: a bundle may change, a warning may become a bar, so it is judged again whenever it matters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use policy::{
    Assessment, Bundle, DeviceFacts, DeviceKind, DeviceName, Failed, Level, OnRecord, OperatorName,
    TenantName, Told,
};
use posture::report::{Report, Response};
use posture::{Failing, Posture};
use serde_json::Value;

use crate::store::{self, DeviceState, Store, StoreError};

/// The table that Fleet's conclusions are judged as.
const POLICIES: &str = "policies";

type Row = BTreeMap<String, String>;

/// A device that has proven itself and may be used by the operator who was named. Made by what [`super::judge`] and
/// [`super::judge_certificate`] find, and nowhere else.
#[derive(Debug)]
pub struct Proven {
    known: Known,
    fingerprint: String,
}

/// A device as the policy judges it: on record, and by its own words.
#[derive(Debug, Clone)]
pub struct Known {
    record: OnRecord,
    tenant: TenantName,
    evidence: policy::Evidence,
    told: Option<Told>,
}

impl Proven {
    pub(super) fn new(posture: &Posture, fingerprint: String) -> Result<Self, StoreError> {
        Ok(Self { known: Known::new(posture)?, fingerprint })
    }

    /// What the policy judges.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Its name.
    pub fn name(&self) -> &DeviceName {
        &self.known.record.name
    }

    /// What the proof rests on.
    pub fn evidence(&self) -> policy::Evidence {
        self.known.evidence
    }

    /// The device's key, `SHA256:...`: the one that signed, or that signed the certificate of the one that did.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the inventory still says of it, and of this owner, what it said when it proved itself.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn still_holds(
        &self,
        store: &Store,
        operator: &OperatorName,
    ) -> Result<bool, StoreError> {
        let now = store.device(self.name().as_str()).await?;
        Ok(now.is_some_and(|device| {
            device.state == DeviceState::Active
                && device.fingerprint.as_deref() == Some(self.fingerprint.as_str())
                && device.operator == operator.as_str()
                && device.tenant == self.known.tenant.as_str()
        }))
    }
}

impl Known {
    fn new(posture: &Posture) -> Result<Self, StoreError> {
        let evidence = match posture.evidence() {
            posture::Evidence::Key => policy::Evidence::Key,
            posture::Evidence::Bound => policy::Evidence::Bound,
        };
        Self::read(posture.device(), evidence, posture.report())
    }

    /// A device of the inventory as it would be judged now, by what it said last; `report` is JSON.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn by_last_report(row: store::Device, report: Option<&str>) -> Result<Self, StoreError> {
        let report = report.and_then(|json| Report::parse(json.as_bytes()).ok());
        let evidence = if report.is_some() { policy::Evidence::Bound } else { policy::Evidence::Key };
        Self::read(&super::read(row)?, evidence, report.as_ref())
    }

    fn read(
        device: &posture::Device,
        evidence: policy::Evidence,
        report: Option<&Report>,
    ) -> Result<Self, StoreError> {
        let unreadable = |why: &dyn std::fmt::Display| StoreError::Unreadable {
            noun: "device",
            name: device.name.clone(),
            why: why.to_string(),
        };
        let record = OnRecord {
            name: DeviceName::parse(&device.name).map_err(|why| unreadable(&why))?,
            kind: match device.kind {
                posture::Kind::Laptop => DeviceKind::Laptop,
                posture::Kind::Host => DeviceKind::Host,
            },
            owner: OperatorName::parse(&device.owner).map_err(|why| unreadable(&why))?,
            managed: device.managed && !device.personal && device.state == posture::State::Active,
            personal: device.personal,
        };
        let tenant = TenantName::parse(&device.tenant).map_err(|why| unreadable(&why))?;
        Ok(Self { record, tenant, evidence, told: report.map(told) })
    }

    /// Judges it by the bundle. `asked` is the moment that its facts are to be fresh for: of the login, or at which a channel was
    /// asked for.
    pub fn assess(&self, bundle: &Bundle, asked: Timestamp, now: Timestamp) -> Assessment {
        let untold = || policy::Facts::untold(self.record.clone());
        let facts = match self.told.clone() {
            Some(told) => policy::Facts::told(self.record.clone(), told, asked).unwrap_or_else(|_| untold()),
            None => untold(),
        };
        policy::assess(bundle, &facts, now)
    }

    /// What the policy is told of a device that is at these levels.
    pub fn facts(&self, assessment: &Assessment) -> DeviceFacts {
        DeviceFacts {
            name: self.record.name.clone(),
            tenant: self.tenant.clone(),
            levels: assessment.levels.clone(),
            evidence: self.evidence,
        }
    }

    /// The text for whoever sits at it, when it is not at a level that is asked for.
    pub fn remediation(&self, assessment: &Assessment, level: &Level, reference: &str) -> String {
        let kind = match self.record.kind {
            DeviceKind::Laptop => posture::Kind::Laptop,
            DeviceKind::Host => posture::Kind::Host,
        };
        let failing: Vec<Failing<'_>> = assessment.barring(level).map(failing).collect();
        posture::Remediation::of_facts(kind, &failing, reference).to_string()
    }
}

fn failing(failed: &Failed) -> Failing<'_> {
    Failing { check: &failed.check, found: &failed.failed, remedy: &failed.do_ }
}

/// What bars a device from a level, for the log.
pub(crate) fn cause(assessment: &Assessment, level: &Level) -> String {
    let all: Vec<String> =
        assessment.barring(level).map(|failed| format!("{}: {}", failed.check, failed.failed)).collect();
    format!("the device is not {level}: {}", all.join("; "))
}

/// A report as the policy takes it: every table of osquery's as it is, and what Fleet concluded as one more.
fn told(report: &Report) -> Told {
    let tables = serde_json::to_value(&report.facts).unwrap_or_default();
    let mut tables: BTreeMap<String, Vec<Row>> = serde_json::from_value(tables).unwrap_or_default();
    if !report.policies.is_empty() {
        tables.insert(POLICIES.to_owned(), report.policies.iter().map(policy_row).collect());
    }
    Told {
        collected_at: report.collected_at,
        hostname: report.device.hostname.as_str().to_owned(),
        serial: report.device.serial.as_ref().map(|serial| serial.as_str().to_owned()),
        agent: report.agent.version.as_str().to_owned(),
        key: report.agent.key.as_str().to_owned(),
        collector: word(&report.agent.facts),
        tables,
    }
}

fn policy_row(policy: &posture::report::Policy) -> Row {
    let response = match policy.response {
        Response::Pass => "pass",
        Response::Fail => "fail",
        Response::NotRun => "",
    };
    [
        ("id", policy.id.to_string()),
        ("name", policy.name.as_str().to_owned()),
        ("response", response.to_owned()),
        ("critical", u8::from(policy.critical).to_string()),
    ]
    .map(|(column, value)| (column.to_owned(), value))
    .into()
}

/// A word of the report as it is written in JSON.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_told_column_by_column_as_it_was_signed() {
        let json = r#"{"v":1,"device":{"uid":"lt","hostname":"h","type":"laptop","is_managed":true,"is_personal":false,
            "owner":"alice"},"bind":{"session_id":"00","hostkey_sha256":"00","is_forwarding":false,"boot_id":"b","seq":1},
            "collected_at":7,"agent":{"version":"0.1.0","key":"file","facts":"osquery"},
            "facts":{"disk_encryption":[{"name":"/dev/sda2","encrypted":"0"}],"processes":[]},
            "policies":[{"id":12,"name":"Disk encrypted","response":"","critical":true}]}"#;
        let told = told(&Report::parse(json.as_bytes()).unwrap());
        assert_eq!((told.collected_at, told.key.as_str(), told.collector.as_str()), (7, "file", "osquery"));
        assert_eq!(told.tables["disk_encryption"][0]["encrypted"], "0");
        assert_eq!((told.tables["processes"].len(), told.tables.get("patches")), (0, None));
        let policy = &told.tables["policies"][0];
        assert_eq!(
            (policy["id"].as_str(), policy["critical"].as_str(), policy["response"].as_str()),
            ("12", "1", "")
        );
    }
}
