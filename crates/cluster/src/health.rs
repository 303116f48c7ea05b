//! Whether an object is well, by what its status says: the rules of kstatus, which `kubectl wait`, Flux and Argo CD go by.

use serde_json::Value;

use crate::Known;

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is what it is wanted to be.
    Current,
    /// It is on its way there, or nothing has been said of its newest generation; why, if that is known.
    InProgress(String),
    /// It does not get there by itself, and why.
    Failed(String),
    /// Somebody has stopped it: nothing is to be waited for.
    Suspended,
}

impl Known {
    /// How it is.
    pub fn health(&self) -> Health {
        let status: Value = serde_json::from_str(&self.status).unwrap_or_default();
        if self.deleting {
            return Health::InProgress("it is being deleted".into());
        }
        if status["observedGeneration"].as_i64().is_none_or(|observed| observed < self.generation) {
            return Health::InProgress("nothing is known of its newest generation yet".into());
        }
        let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let condition = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
        let why = |condition: &Value| {
            let (reason, message) = (condition["reason"].as_str().unwrap_or_default(), condition["message"].as_str().unwrap_or_default());
            if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") }
        };
        let is_true = |kind: &str| condition(kind).filter(|condition| condition["status"] == "True");
        match (is_true("Stalled"), condition("Ready")) {
            (_, Some(ready)) if ready["reason"] == "Suspended" => Health::Suspended,
            (Some(stalled), _) => Health::Failed(why(stalled)),
            (None, Some(ready)) if ready["status"] == "True" && is_true("Reconciling").is_none() => Health::Current,
            (None, Some(ready)) => Health::InProgress(ready["reason"].as_str().unwrap_or_default().to_owned()),
            (None, None) => Health::InProgress("it is not ready yet".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_as_its_conditions_say_of_its_newest_generation() {
        let how = |generation: i64, status: Value| Known { generation, status: status.to_string().into(), ..Known::default() }.health();
        let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "so"});
        let ready = json!({"observedGeneration": 2, "conditions": [condition("Ready", "True", "Complete")]});
        assert_eq!(how(2, ready.clone()), Health::Current);
        assert!(matches!(how(3, ready), Health::InProgress(_)), "what it says is of an older generation");
        assert!(matches!(how(1, json!({})), Health::InProgress(_)));
        let conditions = |all: &[Value]| json!({"observedGeneration": 1, "conditions": all});
        let not = condition("Ready", "False", "RolledBack");
        assert_eq!(how(1, conditions(std::slice::from_ref(&not))), Health::InProgress("RolledBack".into()));
        assert_eq!(how(1, conditions(&[not, condition("Stalled", "True", "RolledBack")])), Health::Failed("RolledBack: so".into()));
        assert_eq!(how(1, conditions(&[condition("Ready", "False", "Suspended")])), Health::Suspended);
        let both = [condition("Ready", "True", "Valid"), condition("Reconciling", "True", "Progressing")];
        assert!(matches!(how(1, conditions(&both)), Health::InProgress(_)));
    }
}
