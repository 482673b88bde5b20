-- What the managed database holds: an account book, with what such a thing has in practice.
CREATE ROLE bookkeeper NOLOGIN;
CREATE ROLE auditor NOLOGIN;
GRANT auditor TO bookkeeper;
CREATE SCHEMA book;
CREATE EXTENSION pg_trgm SCHEMA book;
CREATE TYPE book.side AS ENUM ('debit', 'credit');
CREATE TABLE book.accounts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, region text NOT NULL);
CREATE TABLE book.entries (
    id bigserial,
    account int NOT NULL REFERENCES book.accounts,
    side book.side NOT NULL,
    amount numeric(12, 2) NOT NULL CHECK (amount > 0),
    booked date NOT NULL,
    note text,
    PRIMARY KEY (id, booked)
) PARTITION BY RANGE (booked);
CREATE TABLE book.entries_2025 PARTITION OF book.entries FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE book.entries_2026 PARTITION OF book.entries FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON book.entries (account, booked);
CREATE INDEX entries_2026_note ON book.entries_2026 USING gin (note book.gin_trgm_ops);
INSERT INTO book.accounts (name, region) SELECT 'account ' || n, (ARRAY['north', 'south'])[1 + n % 2] FROM generate_series(1, 500) AS n;
INSERT INTO book.entries (account, side, amount, booked, note)
    SELECT 1 + n % 500, (ARRAY['debit', 'credit'])[1 + n % 2]::book.side, 1 + n % 97, date '2025-01-01' + n % 690, md5(n::text)
    FROM generate_series(1, 60000) AS n;
CREATE VIEW book.balances AS
    SELECT account, sum(CASE side WHEN 'debit' THEN amount ELSE -amount END) AS balance FROM book.entries GROUP BY account;
CREATE MATERIALIZED VIEW book.monthly AS
    SELECT date_trunc('month', booked) AS month, side, sum(amount) AS total FROM book.entries GROUP BY 1, 2;
CREATE FUNCTION book.stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := coalesce(NEW.note, 'none'); RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT ON book.entries FOR EACH ROW EXECUTE FUNCTION book.stamp();
ALTER TABLE book.accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY north_only ON book.accounts FOR SELECT TO auditor USING (region = 'north');
GRANT USAGE ON SCHEMA book TO bookkeeper, auditor;
GRANT SELECT, INSERT ON book.entries TO bookkeeper;
GRANT SELECT ON book.accounts, book.balances TO auditor;
