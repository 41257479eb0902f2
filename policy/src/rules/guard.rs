//! Asks the guards: is there a rule that forbids this, whatever grant there is?
//! Never opens anything: a yes here only means that nothing forbids.

use cedar_policy::{Context, Entities, Entity, Request as Query, RestrictedExpression as Expression};

use crate::channel::ChannelKind;
use crate::facts::Facts;
use crate::rules::{No, Rules, long, seconds, uid, unaskable};

impl Rules {
    /// Asks for everything the channel needs; the first rule that forbids any of it is the answer.
    pub(crate) fn guard(&self, facts: &Facts<'_>) -> Result<(), No> {
        let entities = self.guarded(facts)?;
        for needed in facts.kind.needs() {
            let query = Query::new(
                uid(&self.nouns.operator, facts.operator.as_str()),
                uid(&self.nouns.action, needed.action()),
                uid(&self.nouns.target, facts.target.name().as_str()),
                asked(facts)?,
                Some(&self.guard_schema),
            )
            .map_err(unaskable)?;
            Self::ask(&query, &self.guards, &entities)?;
        }
        Ok(())
    }

    fn guarded(&self, facts: &Facts<'_>) -> Result<Entities, No> {
        let operator = Entity::new(
            uid(&self.nouns.operator, facts.operator.as_str()),
            [
                ("name".to_owned(), text(facts.operator.as_str())),
                ("tenant".to_owned(), text(facts.tenant.as_str())),
                ("enabled".to_owned(), Expression::new_bool(facts.enabled)),
            ]
            .into(),
            facts.roles.iter().map(|role| uid(&self.nouns.role, role.as_str())).collect(),
        )
        .map_err(unaskable)?;
        let target = facts.target;
        let mut known = vec![
            ("name".to_owned(), text(target.name().as_str())),
            ("tenant".to_owned(), text(target.tenant().as_str())),
        ];
        known.extend(target.owner().map(|owner| ("owner".to_owned(), text(owner))));
        let labels = target.labels().iter().map(|(key, value)| (key.clone(), text(value)));
        let target =
            Entity::new_with_tags(uid(&self.nouns.target, target.name().as_str()), known, [], labels)
                .map_err(unaskable)?;
        // With the schema Cedar also adds the actions, and refuses entities that are not what the rules were checked
        // against.
        Entities::from_entities([operator, target], Some(&self.guard_schema)).map_err(unaskable)
    }
}

fn text(value: &str) -> Expression {
    Expression::new_string(value.to_owned())
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Expression {
    Expression::new_set(values.map(text))
}

fn asked(facts: &Facts<'_>) -> Result<Context, No> {
    let (channel, subsystem) = match facts.kind {
        ChannelKind::Shell => ("shell", None),
        ChannelKind::Exec => ("exec", None),
        ChannelKind::Sftp => ("sftp", None),
        ChannelKind::Subsystem(name) => ("subsystem", Some(name.as_str())),
    };
    let mut pairs = vec![
        ("account", text(facts.account.as_str())),
        ("channel", text(channel)),
        ("factors", texts(facts.factors.iter().map(|factor| factor.as_str()))),
        ("assurance", Expression::new_long(long(facts.assurance.into()))),
        ("approvals", Expression::new_long(long(facts.approvals.into()))),
        ("source", Expression::new_ip(facts.source.to_string())),
        ("now", Expression::new_datetime(facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
    ];
    pairs.extend(subsystem.map(|name| ("subsystem", text(name))));
    pairs.extend(facts.code_age.map(|age| ("code_age", Expression::new_long(seconds(age)))));
    pairs.extend(facts.reason.map(|reason| ("reason", text(reason))));
    pairs.extend(device(facts)?.map(|device| ("device", device)));
    Context::from_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value))).map_err(unaskable)
}

fn device(facts: &Facts<'_>) -> Result<Option<Expression>, No> {
    let Some(device) = &facts.device else { return Ok(None) };
    let record = Expression::new_record([
        ("name".to_owned(), text(device.name)),
        ("tenant".to_owned(), text(device.tenant.as_str())),
        ("evidence".to_owned(), text(device.evidence.as_str())),
        ("levels".to_owned(), texts(device.levels.iter().map(crate::Level::as_str))),
    ]);
    record.map(Some).map_err(unaskable)
}
