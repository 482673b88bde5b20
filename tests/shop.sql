-- One of every kind of object that a census counts. Tests copy this database and plant a fault in the copy.
CREATE SCHEMA sales;
CREATE EXTENSION hstore;
CREATE EXTENSION pg_trgm SCHEMA sales;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION tablefunc;
CREATE EXTENSION pageinspect;

CREATE TYPE sales.state AS ENUM ('open', 'paid', 'sent');
CREATE TYPE sales.address AS (street text, town text);
CREATE TYPE sales.span AS RANGE (subtype = numeric);
CREATE DOMAIN sales.email AS text NOT NULL CHECK (VALUE LIKE '%@%');
CREATE COLLATION sales.german (provider = icu, locale = 'de');

CREATE TABLE sales.customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL COLLATE sales.german,
    email sales.email,
    address sales.address,
    tags hstore
);
CREATE TABLE sales.orders (
    id serial PRIMARY KEY,
    customer int NOT NULL REFERENCES sales.customers,
    state sales.state NOT NULL DEFAULT 'open',
    total numeric(10, 2) NOT NULL CONSTRAINT total_is_not_negative CHECK (total >= 0),
    doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
    note text
);
CREATE INDEX orders_customer ON sales.orders (customer) WHERE state <> 'sent';
CREATE INDEX orders_note ON sales.orders USING gin (note sales.gin_trgm_ops);
CREATE STATISTICS sales.orders_together ON customer, state FROM sales.orders;
CREATE TABLE sales.events (at date NOT NULL, kind text, "Odd name" text) PARTITION BY RANGE (at);
CREATE TABLE sales.events_2025 PARTITION OF sales.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE sales.events_2026 PARTITION OF sales.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON sales.events (at);
CREATE TABLE sales."Big documents" (id int PRIMARY KEY, body text);
ALTER TABLE sales."Big documents" ALTER body SET STORAGE EXTERNAL;
CREATE UNLOGGED TABLE sales.sessions (id int);
CREATE TABLE sales.base (id int);
CREATE TABLE sales.derived (extra int) INHERITS (sales.base);
CREATE SEQUENCE sales.countdown INCREMENT BY -1 MAXVALUE 100 START 100;

INSERT INTO sales.customers (name, email, address, tags)
    SELECT 'customer ' || n, n || '@example.org', ROW('street ' || n, 'town'::text)::sales.address, hstore('n', n::text) FROM generate_series(1, 200) AS n;
INSERT INTO sales.orders (customer, state, total, note)
    SELECT 1 + n % 200, (ARRAY['open', 'paid', 'sent'])[1 + n % 3]::sales.state, n, 'note ' || n FROM generate_series(1, 1000) AS n;
INSERT INTO sales.events SELECT date '2025-01-01' + n, 'kind' FROM generate_series(0, 700) AS n;
INSERT INTO sales."Big documents" SELECT n, string_agg(md5(n || '-' || m), '') FROM generate_series(1, 20) AS n, generate_series(1, 500) AS m
    GROUP BY n;
INSERT INTO sales.sessions VALUES (1);
INSERT INTO sales.base VALUES (1), (2);
INSERT INTO sales.derived VALUES (3, 3);
SELECT nextval('sales.countdown') FROM generate_series(1, 5);
SELECT lo_from_bytea(0, 'large');

CREATE VIEW sales.open_orders WITH (security_barrier) AS SELECT * FROM sales.orders WHERE state = 'open';
CREATE VIEW sales.sent_orders AS SELECT * FROM sales.orders WHERE state = 'sent';
CREATE RULE no_delete AS ON DELETE TO sales.open_orders DO INSTEAD NOTHING;
CREATE MATERIALIZED VIEW sales.totals AS SELECT customer, sum(total) AS total FROM sales.orders GROUP BY customer;
CREATE UNIQUE INDEX ON sales.totals (customer);
CREATE FUNCTION sales.noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := coalesce(NEW.note, 'none'); RETURN NEW; END$$;
CREATE TRIGGER noted BEFORE INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.noted();
CREATE FUNCTION sales.total_of(customer int) RETURNS numeric LANGUAGE sql STABLE
    RETURN (SELECT sum(o.total) FROM sales.orders o WHERE o.customer = total_of.customer);
CREATE AGGREGATE sales.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
CREATE PROCEDURE sales.tidy() LANGUAGE sql AS 'DELETE FROM sales.sessions';
CREATE FUNCTION sales.watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watched ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION sales.watched();
CREATE TEXT SEARCH CONFIGURATION sales.plain (COPY = simple);
CREATE CAST (sales.state AS int) WITH INOUT;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1');
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'nobody', password 'secret of the mapping');
CREATE FOREIGN TABLE sales.remote (id int) SERVER elsewhere;
CREATE PUBLICATION changes FOR TABLE sales.orders, sales.customers;

ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_orders ON sales.orders FOR SELECT TO clerk USING (customer < 100);
GRANT USAGE ON SCHEMA sales TO clerk, reader;
GRANT SELECT, INSERT ON sales.orders TO clerk WITH GRANT OPTION;
GRANT SELECT (id, name) ON sales.customers TO reader;
GRANT USAGE ON SEQUENCE sales.orders_id_seq TO clerk;
REVOKE EXECUTE ON FUNCTION sales.total_of(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE clerk REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE clerk GRANT USAGE ON SEQUENCES TO reader;
ALTER TABLE sales.events OWNER TO clerk;
COMMENT ON TABLE sales.orders IS 'what was ordered';
