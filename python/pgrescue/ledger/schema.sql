-- The ledger: every record below runs/, to be asked with SQL. It holds nothing that the records do not.
-- Times are RFC 3339 UTC with microseconds, so that text sorts as time does; durations are seconds.
-- Every row belongs to a source, a file or folder below runs/, and goes when its source goes.
CREATE TABLE sources (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,      -- run, incident, rehearsal, attempts, finding_events
  mark TEXT NOT NULL,      -- what it looked like from outside when it was read
  settled INTEGER NOT NULL -- 0: read again next time, for it is open or was too young for its mark to tell
);
CREATE TABLE problems (source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE, says TEXT NOT NULL);
CREATE INDEX problems_source ON problems (source);
CREATE TABLE runs (
  source INTEGER PRIMARY KEY REFERENCES sources ON DELETE CASCADE,
  id TEXT NOT NULL, service TEXT NOT NULL,
  kind TEXT NOT NULL,      -- incident, drill, proof; unjudged: a drill that has not ended, or without rules that can tell whether it passed
  procedure TEXT NOT NULL, scenario TEXT, operator TEXT,
  started TEXT, ended TEXT, result TEXT, exit_code INTEGER, sealed INTEGER NOT NULL,
  rto_s REAL, rpo_s REAL, rta_s REAL, rpa_s REAL, rto_verdict TEXT, rpo_verdict TEXT,
  detection_s REAL,        -- of incidents and blind drills; in another drill nobody detects anything
  human_wait_s REAL, acknowledged INTEGER, lost INTEGER, lost_before_recovery_point INTEGER,
  data_bytes INTEGER, fetched_bytes REAL, fetch_s REAL, replayed_bytes REAL, replay_s REAL,
  method TEXT, standby_ready INTEGER, backup TEXT, repository INTEGER,
  begun INTEGER NOT NULL,  -- whether a phase that may change something of the service began
  steps INTEGER NOT NULL,
  approvals INTEGER NOT NULL, -- gates at which somebody, or the policy, said yes
  skipped INTEGER NOT NULL, resumed INTEGER NOT NULL,
  notes INTEGER NOT NULL, broke_glass INTEGER NOT NULL, has_findings INTEGER NOT NULL
);
CREATE INDEX runs_started ON runs (service, started);
CREATE INDEX runs_id ON runs (id);
CREATE TABLE phases (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  phase TEXT NOT NULL, seconds REAL NOT NULL, budget_s REAL, verdict TEXT,
  PRIMARY KEY (source, phase)
) WITHOUT ROWID;
CREATE TABLE steps (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  n INTEGER NOT NULL, phase TEXT, name TEXT NOT NULL, status TEXT NOT NULL, seconds REAL,
  PRIMARY KEY (source, n)
) WITHOUT ROWID;
CREATE TABLE checks (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  n INTEGER NOT NULL, name TEXT NOT NULL, tier TEXT NOT NULL, verdict TEXT NOT NULL,
  PRIMARY KEY (source, n)
) WITHOUT ROWID;
CREATE TABLE findings ( -- as they were when their run was closed; finding_events tells what became of them
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  id TEXT NOT NULL, run TEXT NOT NULL, service TEXT NOT NULL, title TEXT NOT NULL, severity TEXT NOT NULL,
  owner TEXT, due TEXT, state TEXT NOT NULL, opened TEXT NOT NULL, closed TEXT, reason TEXT
);
CREATE INDEX findings_source ON findings (source);
CREATE INDEX findings_service ON findings (service, id);
CREATE TABLE finding_events (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  n INTEGER NOT NULL, at TEXT NOT NULL, service TEXT NOT NULL, id TEXT NOT NULL, by TEXT,
  state TEXT, reason TEXT, owner TEXT, due TEXT,
  PRIMARY KEY (source, n)
) WITHOUT ROWID;
CREATE INDEX finding_events_id ON finding_events (service, id, at);
CREATE TABLE incidents (
  source INTEGER PRIMARY KEY REFERENCES sources ON DELETE CASCADE,
  id TEXT NOT NULL, service TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, says TEXT NOT NULL, cause TEXT,
  level TEXT NOT NULL, started TEXT, detected TEXT, acknowledged TEXT, decided TEXT, mitigated TEXT, resolved TEXT,
  acknowledged_by TEXT, decision TEXT, outages INTEGER NOT NULL,
  happened TEXT -- when it was detected, else when it started, else what its name says
);
CREATE INDEX incidents_happened ON incidents (service, happened);
CREATE TABLE incident_runs (source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE, run TEXT NOT NULL);
CREATE INDEX incident_runs_source ON incident_runs (source);
CREATE TABLE rehearsals (
  source INTEGER PRIMARY KEY REFERENCES sources ON DELETE CASCADE,
  service TEXT NOT NULL, at TEXT NOT NULL, passed INTEGER NOT NULL, noticed INTEGER NOT NULL
);
CREATE INDEX rehearsals_at ON rehearsals (service, at);
CREATE TABLE channels (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  name TEXT NOT NULL, seconds REAL, problem TEXT
);
CREATE INDEX channels_source ON channels (source);
CREATE TABLE attempts (
  source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
  n INTEGER NOT NULL, service TEXT NOT NULL, at TEXT NOT NULL, repository TEXT, kind TEXT, result TEXT NOT NULL,
  duration_s REAL, size_bytes INTEGER, stored_bytes INTEGER, reason TEXT,
  PRIMARY KEY (source, n)
) WITHOUT ROWID;
CREATE INDEX attempts_at ON attempts (service, at);
