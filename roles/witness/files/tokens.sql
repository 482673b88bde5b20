CREATE SCHEMA IF NOT EXISTS pgrescue;
CREATE TABLE IF NOT EXISTS pgrescue.witness (
    token bigint PRIMARY KEY,
    attempted_at timestamptz NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    client text NOT NULL
);
GRANT USAGE ON SCHEMA pgrescue TO pgrescue_witness;
GRANT SELECT, INSERT, DELETE ON pgrescue.witness TO pgrescue_witness;
-- Where a look writes, and what it reads back: one row for each place that looks.
CREATE TABLE IF NOT EXISTS pgrescue.looks (
    place text PRIMARY KEY,
    at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON pgrescue.looks TO pgrescue_witness;
