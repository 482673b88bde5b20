CREATE SCHEMA IF NOT EXISTS pgrescue;
CREATE TABLE IF NOT EXISTS pgrescue.witness (
    token bigint PRIMARY KEY,
    attempted_at timestamptz NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    client text NOT NULL
);
GRANT USAGE ON SCHEMA pgrescue TO pgrescue_witness;
GRANT SELECT, INSERT, DELETE ON pgrescue.witness TO pgrescue_witness;
