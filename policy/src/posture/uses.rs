//! What a condition reads: found in Cedar's JSON form of it.
//! Never decides anything: it only lists, and what it does not understand it does not list as understood.

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// What one condition reads.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Variable and attribute.
    attributes: BTreeSet<(String, String)>,
    /// How often `resource.name` is read, and how often of these it is compared with texts that are written out.
    names_read: usize,
    names_compared: usize,
    named: BTreeSet<String>,
}

impl Uses {
    /// Of a rule in JSON.
    pub(crate) fn of(rule: &Json) -> Self {
        let mut uses = Self::default();
        if let Some(conditions) = rule.get("conditions") {
            uses.walk(conditions);
        }
        uses
    }

    /// The attributes that are read of this variable.
    pub(crate) fn attributes_of(&self, variable: &str) -> BTreeSet<&str> {
        self.attributes.iter().filter(|(of, _)| of == variable).map(|(_, name)| name.as_str()).collect()
    }

    /// The texts with which `resource.name` is compared; none when it is also read in another way.
    pub(crate) fn named(self) -> Option<BTreeSet<String>> {
        (self.names_read == self.names_compared).then_some(self.named)
    }

    fn walk(&mut self, part: &Json) {
        match part {
            Json::Array(parts) => parts.iter().for_each(|part| self.walk(part)),
            Json::Object(parts) => {
                for (operator, operands) in parts {
                    self.note(operator, operands);
                    self.walk(operands);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, operator: &str, operands: &Json) {
        match operator {
            "." | "has" => {
                if let Some((variable, name)) = attribute(operands) {
                    self.names_read += usize::from((variable, name) == ("resource", "name"));
                    self.attributes.insert((variable.to_owned(), name.to_owned()));
                }
            }
            "==" | "!=" => {
                let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) else { return };
                let pair = [(left, right), (right, left)].into_iter().find(|(name, _)| is_name(name));
                self.compared(pair.and_then(|(_, with)| Some(vec![literal(with)?])));
            }
            "contains" => {
                let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) else { return };
                let set = left.get("Set").and_then(Json::as_array).filter(|_| is_name(right));
                self.compared(set.and_then(|set| set.iter().map(literal).collect()));
            }
            _ => {}
        }
    }

    fn compared(&mut self, with: Option<Vec<&str>>) {
        if let Some(names) = with {
            self.names_compared += 1;
            self.named.extend(names.into_iter().map(ToOwned::to_owned));
        }
    }
}

/// `{"left": {"Var": v}, "attr": a}`
fn attribute(operands: &Json) -> Option<(&str, &str)> {
    Some((operands.get("left")?.get("Var")?.as_str()?, operands.get("attr")?.as_str()?))
}

fn is_name(part: &Json) -> bool {
    part.get(".").and_then(attribute) == Some(("resource", "name"))
}

fn literal(part: &Json) -> Option<&str> {
    part.get("Value")?.as_str()
}
