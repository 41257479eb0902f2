//! A check's condition: one Cedar expression over a row of a table, the device on record, and what came with the report.
//! Never reads an error as a yes, and never sees more of a row than the condition names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::str::FromStr;

use cedar_policy::{
    Context, Entities, Entity, EntityUid, Expression, PolicySet, Request, RestrictedExpression as Value,
    Schema, ValidationMode, Validator,
};

use crate::posture::facts::{Facts, Told};
use crate::posture::table::{Column, PROGRAMS, TABLES, Table};
use crate::posture::uses::Uses;
use crate::rules::{No, ask, too_deep};

/// The longest condition, in bytes.
const LONGEST: usize = 2_048;
/// The most programs one condition may name.
const MOST_PROGRAMS: usize = 16;
/// The action of a check that is about no table.
const NO_TABLE: &str = "device";

/// Compiles conditions against the one schema of facts.
pub(crate) struct Conditions {
    validator: Validator,
}

/// A condition that can be asked.
#[derive(Debug)]
pub(crate) struct Condition {
    rule: PolicySet,
    action: EntityUid,
    row: EntityUid,
    columns: Vec<&'static Column>,
    programs: BTreeSet<String>,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConditionError {
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

/// The condition could not be put to these facts, or erred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// A value of the row is missing or not of its type.
    Unreadable,
    /// The evaluation failed.
    Erred,
}

impl Conditions {
    /// # Errors
    /// When the shipped schema is broken, which no bundle can do anything about.
    pub(crate) fn new() -> Result<Self, String> {
        let schema = Schema::from_cedarschema_str(&schema()).map_err(|error| error.to_string())?.0;
        Ok(Self { validator: Validator::new(schema) })
    }

    /// Compiles one condition, of a check over this table or over none.
    pub(crate) fn compile(
        &self,
        text: &str,
        table: Option<&'static Table>,
    ) -> Result<Condition, ConditionError> {
        if text.len() > LONGEST || too_deep(text).is_some() {
            let problem = format!("it is longer than {LONGEST} bytes or nested too deep");
            return Err(ConditionError { problem, remedy: "split it into several checks" });
        }
        let form = "write one Cedar expression, like \"resource.encrypted\"";
        let unreadable =
            |error: &dyn std::fmt::Display| ConditionError { problem: error.to_string(), remedy: form };
        // By itself first: so that no text can end the rule it is put into and begin another.
        Expression::from_str(text).map_err(|error| unreadable(&error))?;
        let action = table.map_or(NO_TABLE, |table| table.name);
        let rule =
            format!("permit (principal, action == Action::\"{action}\", resource)\nwhen {{\n{text}\n}};");
        let rule = PolicySet::from_str(&rule).map_err(|error| unreadable(&error))?;
        self.complaint(&rule)?;
        let uses =
            rule.policies().next().and_then(|policy| policy.to_json().ok()).map(|json| Uses::of(&json));
        let uses = uses.ok_or_else(|| unreadable(&"it is no expression"))?;
        let columns = columns(&uses, table)?;
        Ok(Condition {
            action: uid("Action", action).map_err(|error| unreadable(&error))?,
            row: uid(&table.map_or_else(|| "Device".to_owned(), row_type), "row")
                .map_err(|error| unreadable(&error))?,
            programs: programs(uses, table)?,
            rule,
            columns,
        })
    }

    /// What the validator says. Its warnings count as errors: a condition that can never hold bars everybody.
    fn complaint(&self, rule: &PolicySet) -> Result<(), ConditionError> {
        let validated = self.validator.validate(rule, ValidationMode::Strict);
        let errors = validated.validation_errors().map(ToString::to_string);
        let warnings = validated.validation_warnings().map(ToString::to_string);
        let Some(text) = errors.chain(warnings).next() else { return Ok(()) };
        let text = text.strip_prefix("for policy `policy0`, ").unwrap_or(&text).to_owned();
        let remedy = "correct it (docs/access-bundle.md lists what a condition can see)";
        Err(ConditionError { problem: text, remedy })
    }
}

impl Condition {
    /// The columns of the table that it reads.
    pub(crate) fn columns(&self) -> &[&'static Column] {
        &self.columns
    }

    /// The programs it asks after.
    pub(crate) fn programs(&self) -> &BTreeSet<String> {
        &self.programs
    }

    /// Whether it holds for this row, or where it is about no table, for the device.
    pub(crate) fn holds(
        &self,
        facts: &Facts,
        told: &Told,
        row: Option<&BTreeMap<String, String>>,
    ) -> Result<bool, Unanswered> {
        let device = device(facts).ok_or(Unanswered::Erred)?;
        let principal = device.uid();
        let (resource, entities) = match row {
            None => (principal.clone(), vec![device]),
            Some(row) => {
                let row = Entity::new(self.row.clone(), self.values(row)?, [].into())
                    .map_err(|_| Unanswered::Erred)?;
                (row.uid(), vec![device, row])
            }
        };
        let entities = Entities::from_entities(entities, None).map_err(|_| Unanswered::Erred)?;
        let context = context(facts, told).ok_or(Unanswered::Erred)?;
        let query = Request::new(principal, self.action.clone(), resource, context, None);
        match ask(&query.map_err(|_| Unanswered::Erred)?, &self.rule, &entities) {
            Ok(_) => Ok(true),
            Err(No::Forbidden(_)) => Ok(false),
            Err(No::Error(_)) => Err(Unanswered::Erred),
        }
    }

    fn values(
        &self,
        row: &BTreeMap<String, String>,
    ) -> Result<std::collections::HashMap<String, Value>, Unanswered> {
        let mut values = std::collections::HashMap::new();
        for column in &self.columns {
            if let Some(value) = column.value(row).map_err(|_| Unanswered::Unreadable)? {
                values.insert(column.name.to_owned(), value);
            }
        }
        Ok(values)
    }
}

/// What a condition can see, in Cedar's own form: one action and one type of row for each table.
fn schema() -> String {
    let mut text = "
        entity Device = { uid: String, \"type\": String, owner: String, is_managed: Bool, is_personal: Bool };
        type Told = { age: Long, collected_at: Long, hostname: String, serial?: String, agent: String, key: String,
          collector: String };
        action \"device\" appliesTo { principal: Device, resource: Device, context: Told };"
        .to_owned();
    for table in TABLES {
        let (row, name) = (row_type(table), table.name);
        let columns: Vec<String> = table.columns.iter().map(Column::declared).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nentity {row} = {{ {} }};
            action \"{name}\" appliesTo {{ principal: Device, resource: {row}, context: Told }};",
            columns.join(", ")
        );
    }
    text
}

fn row_type(table: &Table) -> String {
    format!("Row_{}", table.name)
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = kind.parse().map_err(|_| format!("{kind:?} is no type"))?;
    Ok(EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id)))
}

fn device(facts: &Facts) -> Option<Entity> {
    let device = facts.on_record();
    let values = [
        ("uid".to_owned(), text(device.name.as_str())),
        ("type".to_owned(), text(device.kind.as_str())),
        ("owner".to_owned(), text(device.owner.as_str())),
        ("is_managed".to_owned(), Value::new_bool(device.managed)),
        ("is_personal".to_owned(), Value::new_bool(device.personal)),
    ];
    Entity::new(uid("Device", device.name.as_str()).ok()?, values.into(), [].into()).ok()
}

fn context(facts: &Facts, told: &Told) -> Option<Context> {
    let mut pairs = vec![
        ("age".to_owned(), Value::new_long(facts.age(told))),
        ("collected_at".to_owned(), Value::new_long(told.collected())),
        ("hostname".to_owned(), text(&told.hostname)),
        ("agent".to_owned(), text(&told.agent)),
        ("key".to_owned(), text(&told.key)),
        ("collector".to_owned(), text(&told.collector)),
    ];
    pairs.extend(told.serial.as_ref().map(|serial| ("serial".to_owned(), text(serial))));
    Context::from_pairs(pairs).ok()
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn columns(uses: &Uses, table: Option<&'static Table>) -> Result<Vec<&'static Column>, ConditionError> {
    let names = uses.attributes_of("resource");
    let Some(table) = table else {
        if names.is_empty()
            && uses.attributes_of("context").is_empty()
            && uses.attributes_of("principal").is_empty()
        {
            let problem = "it asks nothing of the device".to_owned();
            return Err(ConditionError { problem, remedy: "ask something, or set mode = \"observe\"" });
        }
        return Ok(Vec::new());
    };
    if names.is_empty() {
        let problem = format!("it reads no column of {}", table.name);
        return Err(ConditionError {
            problem,
            remedy: "write resource. and a column, or leave out the table",
        });
    }
    Ok(names.iter().filter_map(|name| table.column(name)).collect())
}

/// A device says of its programs only whether those run that it was asked after, so a condition must name them.
fn programs(uses: Uses, table: Option<&Table>) -> Result<BTreeSet<String>, ConditionError> {
    if table.is_none_or(|table| table.name != PROGRAMS) {
        return Ok(BTreeSet::new());
    }
    let names = uses.named().ok_or_else(|| ConditionError {
        problem: "it asks after programs other than by name".to_owned(),
        remedy: "write resource.name == \"PROGRAM\"",
    })?;
    let plain =
        |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if names.len() > MOST_PROGRAMS || !names.iter().all(plain) {
        let problem =
            format!("it names more than {MOST_PROGRAMS} programs, or one that can have no such name");
        return Err(ConditionError { problem, remedy: "name each in 1 to 64 ASCII signs without blanks" });
    }
    Ok(names)
}
