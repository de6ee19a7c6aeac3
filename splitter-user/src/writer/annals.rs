//! What was done: history and audit, from the journal's rows.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Writer, moment};
use crate::api::types::{
    ApiError, AuditFilter, AuditItem, AuditList, AuditOutcome, HistoryFilter, HistoryItem,
    HistoryList, MAX_RECORDS, SplitFate, Weights, Who,
};
use crate::dataplane::DataPlane;
use crate::plan::unknown_service;
use crate::state::{self, ServiceState};
use crate::store::Audit;

impl<D: DataPlane + 'static> Writer<D> {
    /// Generations, newest first.
    pub(super) fn history(&self, filter: &HistoryFilter) -> Result<HistoryList, ApiError> {
        let service = filter.service.as_deref();
        let rows = self
            .store
            .history(service, filter.limit.min(MAX_RECORDS))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        if let (Some(name), true) = (service, rows.is_empty()) {
            let known: Vec<&String> = self.world.services.keys().collect();
            return Err(unknown_service(name, &known));
        }
        // A service that was deleted and made anew counts from 1 again: rows below that are another's.
        let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
        let items = rows.iter().map(|row| {
            let name = row.service.as_str();
            let life = match ended.get(name) {
                Some(true) => None,
                _ => self.world.services.get(name),
            };
            if row.generation == 1 {
                ended.insert(name, true);
            }
            HistoryItem {
                service: row.service.clone(),
                generation: row.generation,
                at: moment(row.audit.unix_ms),
                by: who(&row.audit),
                verb: row.audit.verb.clone(),
                command: row.audit.command.clone(),
                reason: row.audit.reason.clone(),
                from: weights(row.audit.from_json.as_deref())
                    .remove(name)
                    .unwrap_or_default(),
                to: weights(row.audit.to_json.as_deref())
                    .remove(name)
                    .unwrap_or_default(),
                split: life.map_or(SplitFate::Gone, |service| fate(service, row.generation)),
            }
        });
        Ok(HistoryList {
            items: items.collect(),
        })
    }

    /// Requests to change something, newest first.
    pub(super) fn audit_list(&mut self, filter: &AuditFilter) -> Result<AuditList, ApiError> {
        self.write_refusals();
        let oldest = filter.since_seconds.map_or(SystemTime::UNIX_EPOCH, |age| {
            SystemTime::now()
                .checked_sub(Duration::from_secs(age))
                .unwrap_or(SystemTime::UNIX_EPOCH)
        });
        let rows = self
            .store
            .audit(filter.limit.min(MAX_RECORDS))
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let items = rows
            .into_iter()
            .filter(|row| moment(row.audit.unix_ms) >= oldest)
            .map(|row| AuditItem {
                id: row.id,
                at: moment(row.audit.unix_ms),
                by: who(&row.audit),
                from: weights(row.audit.from_json.as_deref()),
                to: weights(row.audit.to_json.as_deref()),
                outcome: match row.audit.refused {
                    Some(_) => AuditOutcome::Refused,
                    None => AuditOutcome::Done,
                },
                code: row.audit.refused.as_ref().map(|refused| refused.code),
                message: row.audit.refused.map(|refused| refused.message),
                verb: row.audit.verb,
                target: row.audit.service,
                command: row.audit.command,
                reason: row.audit.reason,
            });
        Ok(AuditList {
            items: items.collect(),
        })
    }
}

fn who(audit: &Audit) -> Who {
    Who {
        uid: audit.uid,
        gid: audit.gid,
        pid: Some(audit.pid).filter(|pid| *pid > 0),
        user: None,
    }
}

fn weights(json: Option<&str>) -> BTreeMap<String, Weights> {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

fn fate(service: &ServiceState, generation: u64) -> SplitFate {
    match service.fate_of(generation) {
        state::SplitFate::Current => SplitFate::Current,
        state::SplitFate::Anchor(_) => SplitFate::Anchor,
        state::SplitFate::Gone | state::SplitFate::Unknown => SplitFate::Gone,
    }
}
