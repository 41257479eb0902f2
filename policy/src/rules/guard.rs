//! Asks the guards: is there a rule that forbids this, whatever grant there is?
//! Never opens anything: a yes here only means that nothing forbids.

use cedar_policy::{Context, Entities, Entity, Request as Query, RestrictedExpression as Expression};

use crate::case::Case;
use crate::channel::ChannelKind;
use crate::rules::{No, Rules, ask, long, seconds, uid, unaskable};

impl Rules {
    /// Asks for everything the channel needs; the first rule that forbids any of it is the answer.
    pub(crate) fn guard(&self, case: &Case<'_>) -> Result<(), No> {
        let entities = self.guarded(case)?;
        for needed in case.kind.needs() {
            let query = Query::new(
                uid(&self.nouns.operator, case.operator.as_str()),
                uid(&self.nouns.action, needed.action()),
                uid(&self.nouns.target, case.target.name().as_str()),
                asked(case)?,
                Some(&self.guard_schema),
            )
            .map_err(unaskable)?;
            ask(&query, &self.guards, &entities)?;
        }
        Ok(())
    }

    fn guarded(&self, case: &Case<'_>) -> Result<Entities, No> {
        let operator = Entity::new(
            uid(&self.nouns.operator, case.operator.as_str()),
            [
                ("name".to_owned(), text(case.operator.as_str())),
                ("tenant".to_owned(), text(case.tenant.as_str())),
                ("enabled".to_owned(), Expression::new_bool(case.enabled)),
            ]
            .into(),
            case.roles.iter().map(|role| uid(&self.nouns.role, role.as_str())).collect(),
        )
        .map_err(unaskable)?;
        let target = case.target;
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

fn asked(case: &Case<'_>) -> Result<Context, No> {
    let (channel, subsystem) = match case.kind {
        ChannelKind::Shell => ("shell", None),
        ChannelKind::Exec => ("exec", None),
        ChannelKind::Sftp => ("sftp", None),
        ChannelKind::Subsystem(name) => ("subsystem", Some(name.as_str())),
        ChannelKind::Forward(_) => ("forward", None),
        ChannelKind::ReverseForward => ("reverse-forward", None),
        ChannelKind::Agent => ("agent", None),
        ChannelKind::X11 => ("x11", None),
    };
    let mut pairs = vec![
        ("account", text(case.account.as_str())),
        ("channel", text(channel)),
        ("factors", texts(case.factors.iter().map(|factor| factor.as_str()))),
        ("assurance", Expression::new_long(long(case.assurance.into()))),
        ("approvals", Expression::new_long(long(case.approvals.into()))),
        ("source", Expression::new_ip(case.source.to_string())),
        ("now", Expression::new_datetime(case.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
    ];
    pairs.extend(subsystem.map(|name| ("subsystem", text(name))));
    pairs.extend(case.kind.destination().map(|to| ("forward_to", text(&to.to_string()))));
    pairs.extend(case.code_age.map(|age| ("code_age", Expression::new_long(seconds(age)))));
    pairs.extend(case.reason.map(|reason| ("reason", text(reason))));
    pairs.extend(device(case)?.map(|device| ("device", device)));
    Context::from_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value))).map_err(unaskable)
}

fn device(case: &Case<'_>) -> Result<Option<Expression>, No> {
    let Some(device) = &case.device else { return Ok(None) };
    let record = Expression::new_record([
        ("name".to_owned(), text(device.name)),
        ("tenant".to_owned(), text(device.tenant.as_str())),
        ("evidence".to_owned(), text(device.evidence.as_str())),
        ("levels".to_owned(), texts(device.levels.iter().map(crate::Level::as_str))),
    ]);
    record.map(Some).map_err(unaskable)
}
